"""The classic notebook (nbclassic) in a page, as tests drive it: `window.Jupyter` is its whole API."""

from __future__ import annotations

from tests.browser.lab import Notebook


class Classic(Notebook):
    """A notebook in nbclassic. It has no commands, themes or `save` of JupyterLab's."""

    PANEL = "#notebook-container"
    CELL, OUTPUT = ".code_cell", ".output"
    OWN_ERRORS = Notebook.OWN_ERRORS | frozenset({"Widget is not attached.", "Host is not attached."})
    """Of any widget whose output is gone when it is shown or closed, an `ipywidgets.Label` too."""
    READY = """() => {
      const notebook = window.Jupyter?.notebook;
      return Boolean(notebook?._fully_loaded && notebook.kernel?.is_connected() && notebook.kernel.info_reply.banner);
    }"""
    FILL = """cells => Jupyter.notebook.get_cells().forEach((cell, index) => {
      cell.set_text(cells[index] ?? '');
      cell.clear_output();
    })"""
    RUN = """index => {
      window.ran = window.ran || {};
      window.ran[index] = false;
      const cell = Jupyter.notebook.get_cell(index);
      const ended = (_, what) => {
        if (what.cell !== cell) return;
        window.ran[index] = true;
        cell.events.off('finished_execute.CodeCell', ended);
      };
      cell.events.on('finished_execute.CodeCell', ended);
      cell.execute();
    }"""
    SOURCE = "index => Jupyter.notebook.get_cell(index).get_text()"
    RESTART = "new Promise(done => Jupyter.notebook.kernel.restart(done, done)).then(() => true)"
    END = "Jupyter.notebook.session.delete()"
