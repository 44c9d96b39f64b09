#!/usr/bin/env python3
"""Makes a database as the Django service keeps it, by Django itself, and says on stdout what is in it.

    make.py FILE [only-the-first-migration]
"""

import json
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    INSTALLED_APPS=["conversations"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    TIME_ZONE="UTC",
)
django.setup()


def shown(date):
    return date.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def main():
    if len(sys.argv) > 2:
        call_command("migrate", "conversations", "0001", verbosity=0)
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO conversations_conversation VALUES ('550e8400e29b41d4a716446655440000', 'before roles',"
                " '2024-01-19 12:00:00', '2024-01-19 12:00:00.5')"
            )
            cursor.execute(
                "INSERT INTO conversations_message (message_id, text, date_created, date_updated, conversation_id) VALUES"
                " ('550e8400e29b41d4a716446655440001', 'said early', '2024-01-19 12:00:00', '2024-01-19 12:00:00',"
                " '550e8400e29b41d4a716446655440000')"
            )
        return
    call_command("migrate", verbosity=0)
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
    from conversations.models import Conversation, Message

    for number in range(20):
        conversation = Conversation.objects.create(
            description=f"über {number} ✓", title=None if number % 3 else f"Titel {number}"
        )
        for place in range(number):
            role = "assistant" if place % 2 else "user"
            Message.objects.create(conversation=conversation, role=role, text=f"GRÜSSE {number}.{place}\n<b>")
    # A date without a fraction, which Django writes without one.
    first = Message.objects.order_by("date_created").first()
    Message.objects.filter(pk=first.pk).update(date_created=first.date_created.replace(microsecond=0))
    conversations = []
    for conversation in Conversation.objects.order_by("conversation_id"):
        messages = conversation.messages.order_by("date_created")
        conversations.append(
            {
                "conversation_id": str(conversation.conversation_id),
                "title": conversation.title,
                "description": conversation.description,
                "date_created": shown(conversation.date_created),
                "messages": [
                    [str(message.message_id), message.role, message.text, shown(message.date_created)]
                    for message in messages
                ],
            }
        )
    print(json.dumps(conversations))


main()
