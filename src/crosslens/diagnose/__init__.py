"""What this machine has and how fast it is: a self-test and a benchmark."""
