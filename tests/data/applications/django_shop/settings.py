"""Settings without a database: the models are all that is asked for."""

SECRET_KEY = "a test's"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_shop"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
