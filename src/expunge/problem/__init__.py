"""The question: a task, the data, which rows to forget, and how the model was trained."""

from expunge.problem.problem import Problem as Problem
from expunge.problem.recipe import Recipe as Recipe
from expunge.problem.task import Classification as Classification
from expunge.problem.task import Regression as Regression
from expunge.problem.task import Task as Task
from expunge.problem.task import TextClassification as TextClassification
from expunge.problem.tasks import TASKS as TASKS
from expunge.problem.training import Trainer as Trainer
from expunge.problem.training import Training as Training
