"""Environment variables that a container, or the build of its image, inherits from the kernel.

On Modal, a container has no variables of the notebook's machine; a cell's variables are sent by a Secret, `--env`, or
`os.environ` in a native cell. A local container also inherits the variables that its packages need on this machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

INHERITED: Final = {
    "ALL_PROXY": "proxy for package indexes and models",
    "CONDA_PREFIX": "shared libraries of the kernel's packages",
    "CUDA_DEVICE_ORDER": "the numbers of this machine's GPUs",
    "CUDA_HOME": "shared libraries and the compiler of CUDA",
    "CUDA_PATH": "shared libraries and the compiler of CUDA",
    "CURL_CA_BUNDLE": "certificates of the proxy",
    "DYLD_FALLBACK_LIBRARY_PATH": "shared libraries of the kernel's packages, on macOS",
    "DYLD_LIBRARY_PATH": "shared libraries of the kernel's packages, on macOS",
    "HOME": "caches of packages and models, settings of pip",
    "HTTPS_PROXY": "proxy for package indexes and models",
    "HTTP_PROXY": "proxy for package indexes and models",
    "LANG": "the encoding of text and file names",
    "LANGUAGE": "the language of messages",
    "LC_ALL": "the encoding of text and file names",
    "LC_COLLATE": "the order of text",
    "LC_CTYPE": "the encoding of text and file names",
    "LC_MESSAGES": "the language of messages",
    "LC_MONETARY": "how amounts are written",
    "LC_NUMERIC": "how numbers are written",
    "LC_TIME": "how times are written",
    "LD_LIBRARY_PATH": "shared libraries of the kernel's packages",
    "LOGNAME": "getpass.getuser(): several caches are named after the user",
    "MKL_NUM_THREADS": "containers share this machine's cores",
    "MPLCONFIGDIR": "matplotlib's list of fonts, which takes seconds to make",
    "NO_PROXY": "proxy for package indexes and models",
    "OMP_NUM_THREADS": "containers share this machine's cores",
    "OPENBLAS_NUM_THREADS": "containers share this machine's cores",
    "PATH": "programs; the container's own come first",
    "PIP_CACHE_DIR": "installs in a container: cache of downloads",
    "PIP_CERT": "installs in a container: certificates of the index",
    "PIP_CONFIG_FILE": "installs in a container: settings",
    "PIP_CONSTRAINT": "installs in a container: version constraints",
    "PIP_DEFAULT_TIMEOUT": "installs in a container: a slow index",
    "PIP_EXTRA_INDEX_URL": "installs in a container: sources of packages",
    "PIP_FIND_LINKS": "installs in a container: sources of packages",
    "PIP_INDEX_URL": "installs in a container: sources of packages",
    "PIP_NO_INDEX": "installs in a container: sources of packages",
    "PIP_TRUSTED_HOST": "installs in a container: an index without a certificate",
    "PYTHONPATH": "folders of packages; those of the user's own code are removed",
    "REQUESTS_CA_BUNDLE": "certificates of the proxy",
    "SHELL": "the shell of `!` lines",
    "SSL_CERT_DIR": "certificates of the proxy",
    "SSL_CERT_FILE": "certificates of the proxy",
    "TMPDIR": "directory for temporary files",
    "TZ": "local time",
    "USER": "getpass.getuser(): several caches are named after the user",
    "XDG_CACHE_HOME": "caches of packages and models",
    "XDG_CONFIG_HOME": "settings of pip",
    "XDG_DATA_HOME": "data of the local control plane",
    "XDG_RUNTIME_DIR": "sockets",
    "all_proxy": "proxy for package indexes and models",
    "http_proxy": "proxy for package indexes and models",
    "https_proxy": "proxy for package indexes and models",
    "no_proxy": "proxy for package indexes and models",
}
"""Name and purpose of each inherited variable. Credentials (`AWS_…`, `HF_TOKEN`) are never inherited."""


def inherited(variables: Mapping[str, str]) -> dict[str, str]:
    """Return those of the kernel's `variables` that a container inherits."""
    return {name: value for name, value in variables.items() if name in INHERITED}
