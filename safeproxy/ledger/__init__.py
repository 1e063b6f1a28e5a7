"""The audit trail: the records' format and their writer."""
