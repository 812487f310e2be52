"""What runs and steps are started on: processes of this machine, Kubernetes, Ray, or any launcher of Dagster's."""
