"""What an owner runs beside the app.

In the order of reading:

    check.py   what to see before going live
    record.py  recordings to replay
    backup.py  what was counted, as a file and back
"""
