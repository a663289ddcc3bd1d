"""The process beside each rank that watches it: it sees what a rank cannot say of itself any more.

A rank may be killed, stopped or crash, may compute for an hour without a word, and mpiexec kills all ranks as
soon as one is gone. So each has a watcher, a small process outside what mpiexec kills, which needs but the
standard library. The first watcher on a machine leads it: the others tell it all. The leader of rank 0's
machine decides and speaks for all of them, and the leaders of other machines tell it over TCP.
"""
