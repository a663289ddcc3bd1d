"""The peak that kernels are compared with is the best of several times at which it is measured."""

from graphcnn_native import peak


def test_the_best_of_several_times_is_the_peak(monkeypatch):
    measured = iter([30e9, 70e9, 50e9])
    monkeypatch.setattr(peak, "_measured", lambda threads, what: next(measured))
    monkeypatch.setattr(peak, "_best", {})
    monkeypatch.setattr(peak, "_asked", type(peak._asked)())
    asked = [peak.measured_peak(2) for _ in range(2 * peak.AGAIN + 1)]
    assert asked[: peak.AGAIN] == [30e9] * peak.AGAIN
    assert asked[peak.AGAIN :] == [70e9] * (peak.AGAIN + 1)
    assert next(measured, None) is None, "at the first call and at every tenth from then on"
