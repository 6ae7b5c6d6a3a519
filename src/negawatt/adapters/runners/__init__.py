"""What runs jobs: this machine, Slurm, Kubernetes, Ray."""
