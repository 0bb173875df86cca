"""What the words of a benchmark mean, for someone who has read none of the papers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A word of the tables and figures.

    Attributes:
        name: as it stands there.
        meaning: one or two plain sentences.
        better: which direction is better, or "" where there is none.
    """

    name: str
    meaning: str
    better: str = ""


NEARER = "Nearer to retrain is better; higher or lower is not."
LOWER = "Lower is better."

GLOSSARY = (
    Term(
        "Retrain",
        "Models trained from scratch without the forgotten rows: what every method tries to give "
        "at a smaller cost. All that is called a gap is measured from them.",
    ),
    Term(
        "UA",
        "Unlearning accuracy: the share of the forgotten rows that the model now gets wrong, "
        "100% less its accuracy on them. Far above retrain is no success: errors that no "
        "retrained model makes give the rows away.",
        NEARER,
    ),
    Term("RA", "Remaining accuracy: the accuracy on the retained training rows.", NEARER),
    Term("TA", "Test accuracy: the accuracy on rows that no model was trained on.", NEARER),
    Term(
        "MIA",
        "Membership inference: an attacker learns, from how sure the model is, to tell retained "
        "rows from test rows; shown is the share of the forgotten rows that it takes for never "
        "trained on. Other papers show the share it takes for trained on, which runs the other "
        "way.",
        NEARER,
    ),
    Term(
        "Privacy risk",
        "The privacy risk score: how probable it is that a model was trained on a forgotten row, "
        "judged by how it answers and by how a retrained model answers rows that it was and was "
        "not trained on.",
        NEARER,
    ),
    Term(
        "M-entropy by class",
        "The share of the forgotten rows that an attacker takes for trained on, who has learnt a "
        "threshold for each class from a retrained model.",
        NEARER,
    ),
    Term(
        "Avg. Gap",
        "The mean of the absolute gaps of UA, RA, TA and MIA to retrain, in percentage points. "
        "A small one can hide a large gap in one of the four.",
        LOWER,
    ),
    Term(
        "RTE",
        "Run-time efficiency: how long the method took, on the machine named above. For retrain, "
        "the time that a method can save.",
        LOWER,
    ),
    Term(
        "Margin",
        "How sure a model is of the truth on one row: the log-odds of the true class, in nats "
        "(natural logarithms).",
    ),
    Term(
        "KLoM",
        "KL divergence of margins, in nats: for one row, how different the margins of many "
        "unlearned models are from those of many retrained ones, from 0 to 11.51. A group of rows "
        "is represented by its 95th percentile, so that its worst rows count.",
        LOWER + " It cannot be expected below the noise floor.",
    ),
    Term(
        "Noise floor",
        "KLoM between two groups of retrained models, which differ by chance alone. It falls with "
        "the number of models, so that only values from equally many can be compared.",
    ),
    Term("Do nothing", "The original models, which were trained on the forgotten rows too."),
    Term(
        "Compute",
        "What a request cost, in units of one retraining from scratch. A method marked † also "
        "needs an attribution, a prediction made beforehand of what retraining would change; its "
        "cost is not included.",
        LOWER,
    ),
    Term(
        "Trial, front",
        "A trial is one method with one budget. Its front is the best of its trials up to each "
        "cost, found with retrained models at hand; without them one trial would have to be "
        "chosen blindly.",
    ),
    Term("Forgetting share", "The forgotten rows as a share of the training set."),
    Term(
        "Strength alpha",
        "By how much the one step of influence unlearning is scaled. A method whose boxes are "
        "short needs less tuning.",
    ),
    Term(
        "Mask",
        "Only the weights that the forgotten rows pull at most are changed (weight saliency).",
    ),
    Term(
        "Log-likelihood",
        "How probable a row’s margin is among those of models retrained without it, in nats.",
        "Higher is better, up to the band of retrained models.",
    ),
    Term(
        "Overshooting",
        "A row overshoots when its margin passes the mean of the retrained models by more than two "
        "of their standard deviations, away from where it began: it is forgotten more than if it "
        "had never been seen.",
    ),
    Term(
        "±",
        "One standard deviation over models, or the standard error of a number that all models "
        "have together (average gap, KLoM, U-LiRA). Two methods whose values differ by less are "
        "not told apart.",
    ),
)
