"""De-identification of files: what is read, what becomes of each item of it, and by whom.

`lines.py`, `records.py`, `table.py` and `folder.py` read an input in chunks of items. `crew.py` has
them worked on by processes (`process.py`), each item by its form (`forms.py`). `job.py` keeps the
order and commits, so that a job that was cut off goes on.
"""
