"""Texts from elsewhere (names of sessions, Volumes, files, GPUs and packages; reprs; errors) that would like to be code."""

from __future__ import annotations

MARK = "window.hostile"
"""What a script among them sets; no page may have it."""

HOSTILE = {
    "a script": f"<script>{MARK}=1</script>",
    "an image": f"<img src=x onerror={MARK}=2>",
    "an image in quotes": f"\"><img src=x onerror='{MARK}=3'>",
    "an image in single quotes": f'\'><img src=x onerror="{MARK}=4">',
    "an svg": f"</text></svg><svg onload={MARK}=5><text>",
    "the end of a style": f"</style><script>{MARK}=6</script>",
    "the end of a title": f"</title></textarea></pre></details><script>{MARK}=7</script>",
    "an attribute": f"x onmouseover={MARK}=8 style=position:fixed;inset:0",
    "an attribute in quotes": f'" autofocus onfocus="{MARK}=9" x="',
    "an address": f"<a href=javascript:{MARK}=10>x</a>",
    "a frame": "<iframe srcdoc='<script>parent.hostile=11</script>'></iframe>",
    "a comment": f"--><script>{MARK}=12</script><!--",
    "characters by number": f"&lt;script&gt;{MARK}=13&lt;/script&gt;&#60;img src=x onerror={MARK}=14&#62;",
    "markdown": f"[x](javascript:{MARK}=15) `<script>` ![](x)",
    "code of backticks": f"`<img src=x onerror={MARK}=16>`",
    "a template": "${window.hostile=17} {{constructor.constructor('window.hostile=18')()}} {0} %s",
    "CDATA": f"]]><script>{MARK}=19</script>",
    "colours of a terminal": f"\x1b[31m<script>{MARK}=20</script>\x1b[0m",
    "letters from right to left": f"\u202e<script>{MARK}=21</script>",
    "half a character": f"\ud800<script>{MARK}=22</script>".encode("utf-8", "replace").decode(),
    "a zero byte": f"<scr\0ipt>{MARK}=23</scr\0ipt>",
    "lines": f"\n<script>\n{MARK}=24\n</script>\u2028",
}
