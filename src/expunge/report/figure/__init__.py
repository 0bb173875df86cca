"""Figures of the report, as inline SVG."""

from expunge.report.figure.distributions import distributions as distributions
from expunge.report.figure.pareto import pareto as pareto
from expunge.report.figure.strip import strip as strip
