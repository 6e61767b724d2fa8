"""The mathematics of votes: strengths, their intervals, and how far raters agree."""
