"""A shop whose tables have no foreign keys in the database; SQLAlchemy alone knows them."""

from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Integer, String, Table, Text, and_, cast
from sqlalchemy.orm import DeclarativeBase, Mapped, foreign, mapped_column, relationship

print("an application may print while it is imported")


class Base(DeclarativeBase):
    pass


likes = Table(
    "likes",
    Base.metadata,
    Column("who", ForeignKey("people.nr"), primary_key=True),
    Column("what", ForeignKey("product.nr"), primary_key=True),
)


class Person(Base):
    __tablename__ = "people"
    nr: Mapped[int] = mapped_column(primary_key=True)
    m: Mapped[str] = mapped_column(String(200), info={"data_category": "user.contact.email"})
    n: Mapped[str] = mapped_column(comment="full name")
    country: Mapped[str]
    brought_by: Mapped[int | None] = mapped_column(ForeignKey("people.nr"))
    liked = relationship("Product", secondary=likes)


class Product(Base):
    __tablename__ = "product"
    nr: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]


class Order(Base):
    __tablename__ = "purchase"
    nr: Mapped[int] = mapped_column(primary_key=True)
    placed: Mapped[int] = mapped_column("p", ForeignKey("people.nr"))
    customer = relationship(Person)


class Line(Base):
    __tablename__ = "line"
    o: Mapped[int] = mapped_column(ForeignKey("purchase.nr"), primary_key=True)
    pos: Mapped[int] = mapped_column(primary_key=True)
    product: Mapped[int] = mapped_column(ForeignKey("product.nr"))


class Parcel(Base):
    __tablename__ = "parcel"
    nr: Mapped[int] = mapped_column(primary_key=True)
    o: Mapped[int] = mapped_column(Integer)
    pos: Mapped[int] = mapped_column(Integer)
    __table_args__ = (ForeignKeyConstraint(["o", "pos"], ["line.o", "line.pos"]),)


class Note(Base):
    """About a person or an order; no key can say that."""

    __tablename__ = "note"
    nr: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    about: Mapped[int]
    body: Mapped[str] = mapped_column(Text)
    person = relationship(Person, primaryjoin=lambda: and_(foreign(Note.about) == Person.nr, Note.kind == "p"), viewonly=True)
    order = relationship(Order, primaryjoin=lambda: and_(foreign(Note.about) == Order.nr, Note.kind == "o"), viewonly=True)


class Visit(Base):
    """By a person, without a key; `w` is text."""

    __tablename__ = "visit"
    nr: Mapped[int] = mapped_column(primary_key=True)
    by: Mapped[int] = mapped_column(Integer)
    w: Mapped[str] = mapped_column(String(20))
    visitor = relationship(Person, primaryjoin=lambda: foreign(Visit.by) == Person.nr)
    written = relationship(Person, primaryjoin=lambda: cast(foreign(Visit.w), Integer) == Person.nr, viewonly=True)
