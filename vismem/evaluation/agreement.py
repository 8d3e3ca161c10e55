"""Whether a critic's scores agree with what an oracle calls right and wrong."""

import numpy as np
from scipy import stats
from sklearn import metrics


def agreement(scores: np.ndarray, right: np.ndarray, threshold: float) -> dict[str, float | None]:
    """A critic and an oracle on the same drawings.

    Args:
      scores: the critic's, [N].
      right: the oracle's, bool [N].
      threshold: the critic passes a drawing that scores at least this.

    Returns:
      `exact_claim`, the share of right ones, with `low` and `high`, its 95% interval (Wilson's);
      `score`, the mean; `passed`, a share; `auc`, the area under the ROC curve, which is the chance
      that a right drawing scores above a wrong one; None where all are right or all are wrong.
    """
    interval = stats.binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    return {
        "exact_claim": float(right.mean()),
        "low": interval.low,
        "high": interval.high,
        "score": float(scores.mean()),
        "passed": float((scores >= threshold).mean()),
        "auc": float(metrics.roc_auc_score(right, scores)) if varies(right) else None,
    }


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's, of N pairs; None where all of `a` or all of `b` are equal."""
    return float(stats.spearmanr(a, b).statistic) if varies(a) and varies(b) else None


def varies(values: np.ndarray) -> bool:
    """Whether not all are equal."""
    return bool(np.ptp(np.asarray(values, np.float64)) > 0)
