import uuid

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Conversation",
            fields=[
                ("conversation_id", models.UUIDField(primary_key=True, serialize=False, default=uuid.uuid4, editable=False)),
                ("description", models.CharField(max_length=500)),
                ("date_created", models.DateTimeField(auto_now_add=True)),
                ("date_updated", models.DateTimeField(auto_now=True)),
            ],
        ),
        migrations.CreateModel(
            name="Message",
            fields=[
                ("message_id", models.UUIDField(primary_key=True, serialize=False, default=uuid.uuid4, editable=False)),
                ("text", models.TextField()),
                ("date_created", models.DateTimeField(auto_now_add=True)),
                ("date_updated", models.DateTimeField(auto_now=True)),
                ("conversation", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="messages",
                                                   to="conversations.conversation")),
            ],
        ),
    ]
