"""From secrets to the files that the app reads: each target folder as whole generations."""
