"""Reports of measured tables, and the gate on reported numbers.

`write.write_reports` writes files, `terminal` prints, `check.check` compares with a reference.
"""
