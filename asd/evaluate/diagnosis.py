"""Does the proxy task, telling machines apart, teach the network anything, and more than a spectrum says? Warnings
where it does not."""

from __future__ import annotations

from asd.report import ReportWarning
from asd.scorers.learnt import Learnt

# A network that learns is far from chance by then. Counted in epochs so that each class has been seen, with 2 the first
# evaluation by default, and in updates since an epoch of a small set is a few of them, all within the warm-up.
ENOUGH_EPOCHS, ENOUGH_STEPS = 2.0, 100
# Share of the way from chance to perfect. Of 41 classes 0.05 is an accuracy of 7 % (chance 2.4 %), of 2 classes 52.5 %.
NEAR_CHANCE = 0.05
# Right on all but one clip in 200, and sure of it: a mean loss of 0.01 is an average probability of 99 %.
PERFECT_ACCURACY, PERFECT_LOSS = 0.995, 0.01
# A perfect network alone proves nothing: the demo ends at accuracy 1 and loss 1e-4 with an AUC of 83 %. What makes a
# task trivial is that it needs no network: in the demo the mean spectrum alone is right on 79 % of the clips.
EASY_ACCURACY = 0.99
NO_LEARNING, TRIVIAL, NOT_ABOVE_UNTRAINED = "no_learning", "trivial_task", "not_above_untrained"  # codes of warnings


def diagnose(
    accuracy: float, loss: float, classes: int, epoch: float, step: int, spectrum_accuracy: float | None
) -> ReportWarning | None:
    """What is wrong with the proxy task, as a report's warning; None where nothing is seen.

    accuracy (fraction) and loss (nats): of held-out normal clips, without margin, mixing or smoothing.
    spectrum_accuracy: of the nearest training clip by time-mean log-mel on the same clips; None where it is not known.
    """
    chance = 1.0 / classes
    learnt = (accuracy - chance) / (1.0 - chance)
    if learnt < NEAR_CHANCE and epoch >= ENOUGH_EPOCHS and step >= ENOUGH_STEPS:
        text = (
            f"the network is not learning to classify the machines: accuracy {100 * accuracy:.1f} % after "
            f"{epoch:.0f} epochs, chance is {100 * chance:.1f} %; its scores mean nothing yet. Check the learning "
            "rate, the warm-up, the margin and the classes"
        )
        return ReportWarning(code=NO_LEARNING, text=text)
    perfect = accuracy >= PERFECT_ACCURACY and loss <= PERFECT_LOSS
    if perfect and spectrum_accuracy is not None and spectrum_accuracy >= EASY_ACCURACY:
        text = (
            f"the proxy task is trivial: accuracy {100 * accuracy:.1f} % with a loss of {loss:.1g}, and the mean "
            f"spectrum alone is right on {100 * spectrum_accuracy:.1f} % of the clips. The classes differ by "
            "something easy, e.g. level or recording site; expect little of its scores"
        )
        return ReportWarning(code=TRIVIAL, text=text)
    return None


def compare(found: Learnt, epoch: float, step: int) -> ReportWarning | None:
    """A warning that nothing but hope speaks for the network, with what to use instead; None where something does, and
    of a training that has only begun."""
    if found.share > 0 or epoch < ENOUGH_EPOCHS or step < ENOUGH_STEPS:
        return None
    text = (
        f"nothing shows that the network is better than no training: {found.in_words()}. Go by the untrained scorers "
        "(eval.py export --scorer untrained_knn), or by configs/own_machines.yaml, which weighs both"
    )
    return ReportWarning(code=NOT_ABOVE_UNTRAINED, text=text)
