"""Names that somebody chose to do harm where they are shown."""

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "</script><script>alert(1)</script>",
    "</style><style>*{display:none}</style>",
    "<!--",
    "-->",
    "{{ 7*7 }}",
    "{% include 'x' %}",
    "javascript:alert(1)",
    "=HYPERLINK(1)",
    "@SUM(1)",
    "\x1b[31mred",
    "\u202eevil",
    "\u2028line",
    "&lt;b&gt;",
    "<iframe src=//example.org>",
    "<base href=//example.org>",
    "]]><x/>",
]
