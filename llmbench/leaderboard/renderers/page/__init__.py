"""The parts of the HTML page: pictures, tables and data, each as a template needs it. The page is
put together by `renderers/html.py`; its style and script are in `assets/`.
"""
