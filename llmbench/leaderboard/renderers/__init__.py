"""A board drawn for a reader: one file a format, each with `render(board) -> str`. They see plain
data only.
"""
