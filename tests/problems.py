from expunge.contract.problems import *  # noqa: F403
