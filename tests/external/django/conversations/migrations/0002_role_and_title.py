from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0001_initial")]
    operations = [
        migrations.AddField("conversation", "title", models.CharField(max_length=200, blank=True, null=True)),
        migrations.AddField(
            "message",
            "role",
            models.CharField(max_length=20, choices=[("user", "User"), ("assistant", "Assistant")], default="user"),
        ),
    ]
