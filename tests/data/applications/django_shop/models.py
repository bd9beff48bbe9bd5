"""A shop whose keys are not in the database (db_constraint=False), with generic relations and a link table."""

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models

LOOSE = {"db_constraint": False, "on_delete": models.DO_NOTHING}


class Person(models.Model):
    a = models.CharField("e-mail", max_length=200)
    b = models.CharField(max_length=200, help_text="full name")
    country = models.CharField(max_length=2)
    mentor = models.ForeignKey("self", null=True, **LOOSE)
    remarks = GenericRelation("Remark")

    class Meta:
        db_table = "party"


class Basket(models.Model):
    holder = models.OneToOneField(Person, db_column="h", **LOOSE)
    tags = models.ManyToManyField("Tag")
    remarks = GenericRelation("Remark")

    class Meta:
        db_table = '"sales"."basket"'


class Item(models.Model):
    basket = models.ForeignKey(Basket, db_column="x", **LOOSE)

    class Meta:
        db_table = "item"


class Tag(models.Model):
    label = models.CharField(max_length=50)

    class Meta:
        db_table = "tag"


class Remark(models.Model):
    """About anything; the kind is a number that only the database knows, the id is text."""

    content_type = models.ForeignKey(ContentType, **LOOSE)
    object_id = models.CharField(max_length=40)
    target = GenericForeignKey()
    text = models.TextField()

    class Meta:
        db_table = "remark"


class ProxyPerson(Person):
    class Meta:
        proxy = True
