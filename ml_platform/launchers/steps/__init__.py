"""Single steps of a run on remote launchers: started directly, or by request where only the reconciler may."""
