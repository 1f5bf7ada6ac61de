"""What an owner runs beside the app.

In the order of reading:

    check_redis.py  what an owner should know of a Redis
    check.py        what to see before going live
    record.py       recordings to replay
    backup.py       what was counted, as a file and back
"""
