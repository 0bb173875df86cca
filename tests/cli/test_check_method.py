"""`expunge check-method` on strangers' classes: the good one passes, a broken one is told why."""

import pytest

from tests.packages import METHOD, commands

GOOD = METHOD.replace('"mine"', '"good"')
CODE = {
    "good": GOOD,
    # trains what it is given, and not copies of it
    "meddling": GOOD.replace(
        "        task = problem.task\n",
        "        task = problem.task\n"
        "        [w.data.mul_(1.01) for w in models.weights().values()]\n",
    ),
    # draws from the global generator, which it seeds from the clock
    "unseeded": GOOD.replace("draws=Draws((seed,", "draws=Draws((time.time_ns(),").replace(
        "from typing", "import time\nfrom typing"
    ),
    # goes on with the forgotten rows, not with the retained ones
    "swapped": GOOD.replace("problem.retain", "problem.forget"),
    # moves all weights a little, whatever the learning rate
    "restless": GOOD.replace("lr=self.lr,", "lr=self.lr + 1e-3,"),
    "formless": "class Mine:\n    pass\n",
    "outlaw": GOOD.replace('"forgotten rows are read": "', '"forgotten rows": "'),
}
LAWS = ("arguments", "same seed", "direction", "lr", "forgotten rows are read", "exact")
READ = "forgotten rows are read"  # its test compares two runs, as others do
ASK = tuple(word for law in LAWS for word in ("--law", law))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the command says of each: exit code, stdout, stderr; white space joined."""
    folder = tmp_path_factory.mktemp("methods")
    for name, code in CODE.items():
        (folder / f"{name}.py").write_text(code)
    asked = {name: ("check-method", f"{name}:Mine", *ASK) for name in CODE}
    asked |= {
        "known": ("check-method", "fine-tune", "--law", "lr"),
        "restless": ("check-method", "restless:Mine", *ASK, "--traceback"),
        "no module": ("check-method", "nowhere.deep:Mine"),
        "no class": ("check-method", "good:Mime"),
        "no name": ("check-method", "fine-tun"),
        "no law": ("check-method", "fine-tune", "--law", "lrr"),
    }
    found = commands(folder, *asked.values())
    return {
        name: (code, " ".join(out.split()), " ".join(err.split()))
        for name, (code, out, err) in zip(asked, found, strict=True)
    }


def test_a_good_method_passes(told):
    code, out, err = told["good"]
    assert (code, err) == (0, "")
    assert out.startswith("good Descend the training loss on the retained rows. kept arguments")
    assert "exempt forgotten rows are read" in out
    assert "exempt: they fade" in out
    assert "not asked exact" in out
    assert out.endswith("good: of 6 laws 4 kept, 1 exempt, 1 not asked.")


@pytest.mark.parametrize(
    ("name", "broken", "words"),
    [
        ("meddling", {"arguments", "same seed", READ}, "nothing passed in is changed"),
        (
            "unseeded",
            {"same seed", READ},
            "usual fix: draw everything from `Draws((seed,",
        ),
        (
            "swapped",
            {READ, "direction"},
            "usual fix: see that forget and retain are not swapped",
        ),
        ("restless", {"lr"}, "without a learning rate parameters stay"),
    ],
)
def test_a_broken_method_fails_where_it_is_broken(told, name, broken, words):
    code, out, err = told[name]
    assert (code, err) == (1, "")
    assert {law for law in LAWS if f"broken {law} " in out} == broken
    assert words in out
    assert f"{len(broken)} broken" in out
    assert ("`--traceback` shows where" in out) == (name != "restless")  # it was given


def test_a_traceback_shows_the_line(told):
    code, out, _ = told["restless"]
    assert code == 1
    assert "result = run(problem, kind, models, lr=0.0)" in out


def test_all_that_a_class_lacks_is_told_before_any_law(told):
    code, out, _ = told["formless"]
    assert code == 1
    assert "formless:Mine is no method yet" in out
    for lack in ("frozen dataclass", "name is missing", "claim is missing", "price is not"):
        assert lack in out
    assert "kept" not in out


def test_an_exemption_from_no_law_is_refused(told):
    code, out, _ = told["outlaw"]
    assert code == 1
    assert "no law: 'forgotten rows' (did you mean 'forgotten rows are read'?)" in out


def test_a_method_of_ours_is_checked_by_its_name(told):
    code, out, _ = told["known"]
    assert code == 0
    assert out.endswith("fine-tune: of 1 laws 1 kept.")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no module", "Error: there is no module 'nowhere'. Expected: MODULE:CLASS"),
        ("no class", "Error: good has no 'Mime' (did you mean 'Mine'?)."),
        ("no name", "unknown method 'fine-tun' (did you mean 'fine-tune'?)"),
        ("no law", "there is no law 'lrr' (did you mean 'lr'?)"),
    ],
)
def test_what_cannot_be_checked_is_bad_input(told, name, message):
    code, _, err = told[name]
    assert code == 2
    assert message in err


@pytest.mark.slow
def test_every_law_is_tried_on_a_strangers_method(tmp_path):
    """Also in other processes, which import it by its name."""
    (tmp_path / "good.py").write_text(GOOD)
    ((code, out, err),) = commands(tmp_path, ("check-method", "good:Mine"))
    assert (code, err) == (0, "")
    assert "of 20 laws 17 kept, 1 exempt, 2 not asked." in " ".join(out.split())
