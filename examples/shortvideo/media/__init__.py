"""Moving pictures: where they are kept, how they are made, how what people upload is made safe to show."""
