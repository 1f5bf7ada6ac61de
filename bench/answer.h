/* A viewer, and its HTTP answer byte by byte: head, chunks, lines, events. Only the beginning
 * of each line is kept. */

enum { HEAD, SIZE, DATA, AFTER, PLAIN };      /* where a viewer is in the HTTP answer */
enum { CLOSED, CONNECTING, WAITING, SERVED }; /* and in its life */
enum { PREFIX = 120 };

struct viewer {
  int fd, http, life, chunked, filled;
  long left;
  uint64_t key, first, last; /* of this event; before the window; the newest */
  long got, at;
  int history;
  char line[PREFIX];
  double after; /* when it may be opened again */
};

static int served, pending;
static long events, histories, repeated;

static double now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void event(struct viewer *v) {
  events++;
  histories += v->history;
  if (v->at && !v->history) {
    long delay = (long)(now(CLOCK_REALTIME) * 1000) - v->at;
    delays[delay < 0 ? 0 : delay > SLOWEST ? SLOWEST : delay]++;
  }
  if (v->key) {
    if (v->key <= v->last) repeated++;
    else {
      if (!v->first) v->first = v->key - 1;
      v->last = v->key;
      v->got++;
      know(v->key);
    }
  }
  if (v->life == WAITING) {
    v->life = SERVED;
    served++;
    pending--;
  }
}

/* A line of the body, as much of it as we keep. */
static void body_line(struct viewer *v) {
  char *line = v->line, *found;
  if (!*line) {
    if (v->at || v->key) event(v);
    v->at = v->key = v->history = 0;
  } else if (!strncmp(line, "id: ", 4)) {
    char *rest;
    uint64_t time = strtoull(line + 4, &rest, 10);
    v->key = time << 20 | (*rest ? strtoull(rest + 1, NULL, 10) & 0xfffff : 0);
  } else if (!strcmp(line, "event: history")) {
    v->history = 1;
  } else if (!strncmp(line, "data: ", 6) && (found = strstr(line, "\"at\":"))) {
    v->at = atol(found + 5);
  }
}

static int head_line(struct viewer *v) {
  if (!strncmp(v->line, "HTTP/1.", 7) && strncmp(v->line + 8, " 200", 4)) return 0;
  if (!strcasecmp(v->line, "Transfer-Encoding: chunked")) v->chunked = 1;
  if (!*v->line) v->http = v->chunked ? SIZE : PLAIN;
  return 1;
}

/* Take a stretch of bytes up to a line's end or the stretch's; whether the line is complete. */
static int gather(struct viewer *v, const char **from, const char *to) {
  const char *end = memchr(*from, '\n', to - *from);
  long length = (end ? end : to) - *from, room = PREFIX - 1 - v->filled;
  memcpy(v->line + v->filled, *from, length < room ? length : room);
  v->filled += length < room ? length : room;
  *from = end ? end + 1 : to;
  if (!end) return 0;
  if (v->filled && v->line[v->filled - 1] == '\r') v->filled--;
  v->line[v->filled] = 0;
  v->filled = 0;
  return 1;
}

/* Read what came; 0 when the answer is none that we can use, or has ended. */
static int take(struct viewer *v, const char *from, const char *end) {
  while (from < end) {
    if (v->http == DATA || v->http == PLAIN) {
      const char *to = v->http == DATA && v->left < end - from ? from + v->left : end;
      const char *begun = from;
      while (from < to)
        if (gather(v, &from, to)) body_line(v);
      if (v->http == DATA && !(v->left -= from - begun)) v->http = AFTER;
    } else if (v->http == HEAD) {
      if (gather(v, &from, end) && !head_line(v)) return 0;
    } else { /* chunk framing: few bytes, which may fall inside a line of the body */
      char c = *from++;
      if (v->http == AFTER) {
        if (c == '\n') v->http = SIZE, v->left = 0;
      } else if (c == '\n') {
        if (!v->left) return 0;
        v->http = DATA;
      } else if (c != '\r') {
        v->left = v->left * 16 + (c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
      }
    }
  }
  return 1;
}
