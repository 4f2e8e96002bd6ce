"""The load engine: a workload becomes timed sends, in processes of their own that prove they were not the bottleneck."""
