"""Studies: many runs that answer questions which were written down before them.

`plan` says which arms and seeds, `jobs` runs them, `records` is what lies on disk, `analysis` turns it into a table
with verdicts. A study is read with `load_study`.
"""

from .plan_records import StudyError
from .records import Study, load_study

__all__ = ["Study", "StudyError", "load_study"]
