"""From evidence to a table, figures, and a page for an engineer, a researcher and a lawyer.

The report reads `audit.json` and the arrays behind it; it measures nothing that the audit did not,
shows no verdict stronger than the one written there, and escapes every text that it did not write.
"""

from expunge.report.page import page as page
from expunge.report.table import markdown as markdown
from expunge.report.table import table as table
