"""How fast the connector is, always beside a floor measured in the same run.

Owns: the figures of `make bench` and the hand-written pipeline they are compared with. Does not own: any gate; a
figure never fails a test, the counts behind it do.
Every measurement runs in a process of its own, against a demo CRM in another one, so that on two cores neither steals from
the other and neither inherits the other's heap. Both clocks stand still: two runs read and write the very same rows.

Wall time of both sides includes waiting for the demo CRM; CPU time does not, nor does it depend on the disk of the hour.
So the ratio of CPU times is the sharper one, and absolute figures are only worth as much as the machine is quiet.
"""
