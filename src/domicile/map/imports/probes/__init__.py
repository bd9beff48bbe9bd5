"""Programs that run in an application's own environment and print what it declares; they import nothing of ours."""
