"""The peak that kernels are compared with is the best of several times at which it is measured."""

import threading

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


def test_threads_that_ask_at_once_measure_one_after_the_other(monkeypatch):
    started, at_once = threading.Barrier(4), []
    measuring = threading.Semaphore(1)

    def measured(threads, what):
        at_once.append(not measuring.acquire(blocking=False))
        threading.Event().wait(0.01)  # time in which another could begin
        measuring.release()
        return float(threads)

    def ask(threads):
        started.wait()
        peak.measured_peak(threads)

    monkeypatch.setattr(peak, "_measured", measured)
    monkeypatch.setattr(peak, "_best", {})
    monkeypatch.setattr(peak, "_asked", type(peak._asked)())
    asking = [threading.Thread(target=ask, args=[threads]) for threads in (1, 2, 3, 4)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert at_once == [False] * 4
