"""Find the anti-patterns of sidecars in Kubernetes manifests, before the cluster does.

It reads manifests (files, folders, standard input), finds every pod in them, and knows what a native sidecar is: an
init container with `restartPolicy: Always`. Each finding names the place, why it hurts at night, and the fix. Nothing
is contacted, and nothing is written without --fix.

Exit status: 0 nothing was found that --fail-on counts; 1 something was; 2 a file cannot be read, or the settings cannot
be used.
"""
