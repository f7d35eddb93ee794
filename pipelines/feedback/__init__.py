"""反馈包: failing rows back to the department that sent them, and corrected rows back in by address.

tickets (which addresses were given out) → pack (outbox/<department>/<dataset>/<batch>~r<n>/) … the department … → returns (recognised and
checked, then a new revision in landing) → corrections (put in the place of what was submitted, before anything is tested).
A ticket 回执 is the address of a record: <batch_id>~r<revision>#<file>:<record>.
"""
