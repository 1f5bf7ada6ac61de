/* Many viewers of one event stream in one process; see viewers.py, which starts and asks it.
 *
 *   viewers PORT COUNT PATHS FIRST   PATHS is a file with a path a line, for the viewers in turn;
 *                                    FIRST is the number of our first one, of several processes'
 *
 * Commands on standard input, each answered by one line of JSON:
 *   connect RATE PENDING SECONDS open all that are closed, so many a second and so many waiting
 *                                for their first event at most; those that had events say so
 *                                with Last-Event-ID. Answers when each has had one, or in time.
 *   leave                        hang up on the server, all of them
 *   served                       how many are connected and had an event
 *   start                        wait for a quiet moment, then count from nothing
 *   quiet                        wait for a quiet moment; the newest id
 *   stop ID SECONDS              tell what was counted, once all have this id or one after it;
 *                                who has not in time is behind
 *
 * An event's id is "NUMBER-NUMBER" (or with ":", as nchan has it). A viewer missed an id when
 * another one got it and it lies between two of its own; it is repeated when it does not rise.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "counting.h"
#include "answer.h"

enum { VIEWERS_AN_ADDRESS = 1000, OPENED_AT_ONCE = 32 };
static const double REFUSED_SECONDS = 0.5;
static struct viewer *viewers;
static char **paths;
static int *waiting_line; /* a ring of viewers that are to be opened */
static int count, first, paths_count, port, poller, head, tail;
static int refused, closed_by_server;
static long bytes, reads;
static double heard;
static uint64_t begun_after; /* the newest id that anybody had when we began to count */

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void queue(struct viewer *v, double after) {
  v->life = CLOSED;
  v->after = after;
  waiting_line[tail++ % count] = v - viewers;
}

static void dropped(struct viewer *v) {
  closed_by_server += v->life == SERVED;
  served -= v->life == SERVED;
  pending -= v->life != SERVED;
  close(v->fd);
  queue(v, now(CLOCK_MONOTONIC) + REFUSED_SECONDS);
}

static void begin(struct viewer *v) {
  int number = first + (v - viewers);
  struct sockaddr_in here = {.sin_family = AF_INET}, there = here;
  here.sin_addr.s_addr = htonl(0x7f000002 + number / VIEWERS_AN_ADDRESS);
  there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  there.sin_port = htons(port);
  v->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (v->fd < 0) fail("socket");
  setsockopt(v->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int));
  if (bind(v->fd, (void *)&here, sizeof here)) fail("bind");
  if (connect(v->fd, (void *)&there, sizeof there) && errno != EINPROGRESS) fail("connect");
  struct epoll_event wanted = {.events = EPOLLOUT, .data.ptr = v};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, v->fd, &wanted)) fail("epoll_ctl");
  v->life = CONNECTING;
  v->http = HEAD;
  v->left = v->chunked = v->filled = v->at = v->key = v->history = 0;
  pending++;
}

static int ask(struct viewer *v) {
  char request[1024], resume[80] = "";
  if (v->last)
    sprintf(resume, "Last-Event-ID: %lu-%lu\r\n", v->last >> 20, v->last & 0xfffff);
  int length = snprintf(request, sizeof request,
    "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n%s\r\n",
    paths[(first + (v - viewers)) % paths_count], port, resume);
  struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = v};
  epoll_ctl(poller, EPOLL_CTL_MOD, v->fd, &wanted);
  v->life = WAITING;
  return send(v->fd, request, length, MSG_NOSIGNAL) == length;
}

static void ready(struct viewer *v) {
  static char buffer[1 << 16];
  if (v->life == CONNECTING) {
    if (!ask(v)) refused++, dropped(v);
    return;
  }
  long length = recv(v->fd, buffer, sizeof buffer, 0);
  if (length < 0 && errno == EAGAIN) return;
  reads++;
  if (length > 0) {
    heard = now(CLOCK_MONOTONIC);
    bytes += length;
  }
  if (length <= 0 || !take(v, buffer, buffer + length)) {
    refused += v->life != SERVED;
    dropped(v);
  }
}

/* Handle what is there; 0 is standard input's turn. */
static int turn(int milliseconds) {
  static struct epoll_event found[512];
  int asked = 0, n = epoll_wait(poller, found, 512, milliseconds);
  for (int i = 0; i < n; i++)
    if (found[i].data.ptr) ready(found[i].data.ptr);
    else asked = 1;
  return asked;
}

/* The next viewer that is to be opened, if one may be now. */
static struct viewer *next_closed(void) {
  struct viewer *v = head < tail ? &viewers[waiting_line[head % count]] : NULL;
  return v && v->after <= now(CLOCK_MONOTONIC) ? v : NULL;
}

static void connect_all(double rate, int most, double limit) {
  double begun = now(CLOCK_MONOTONIC), passed = 0;
  int opened = 0, before = refused;
  long events_before = events;
  struct viewer *v;
  while (served < count && (passed = now(CLOCK_MONOTONIC) - begun) < limit) {
    while (pending < most && (rate <= 0 || opened < passed * rate) && (v = next_closed())) {
      head++;
      begin(v);
      if (++opened % OPENED_AT_ONCE == 0) turn(0); /* each asks as soon as it is connected */
    }
    turn(1);
  }
  printf("{\"served\":%d,\"refused\":%d,\"events\":%ld,\"seconds\":%.3f}\n", served,
         refused - before, events - events_before, passed);
}

/* Not counted as ended by the server. */
static void leave(void) {
  for (struct viewer *v = viewers; v < viewers + count; v++) {
    if (v->life == CLOSED) continue;
    close(v->fd);
    queue(v, 0);
  }
  served = pending = 0;
  printf("{\"served\":0}\n");
}

/* Whether a moment came in which nothing was on its way. */
static int quiet(void) {
  double begun = now(CLOCK_MONOTONIC);
  heard = begun;
  while (now(CLOCK_MONOTONIC) - begun < 1.2) {
    turn(5);
    if (now(CLOCK_MONOTONIC) - heard > 0.04) return 1;
  }
  return 0;
}

static void start(void) {
  int silent = quiet();
  events = histories = repeated = bytes = reads = known_count = 0;
  closed_by_server = refused = 0;
  memset(delays, 0, sizeof delays);
  for (struct viewer *v = viewers; v < viewers + count; v++) {
    v->first = v->last, v->got = 0;
    if (v->last > begun_after) begun_after = v->last;
  }
  printf("{\"quiet\":%d,\"served\":%d}\n", silent, served);
}

static void tell_newest(void) {
  int silent = quiet();
  uint64_t newest = known_count ? known[known_count - 1] : begun_after;
  printf("{\"quiet\":%d,\"newest\":\"%lu-%lu\"}\n", silent, newest >> 20, newest & 0xfffff);
}

static int behind(uint64_t newest) {
  int found = 0;
  for (struct viewer *v = viewers; v < viewers + count; v++) found += v->last < newest;
  return found;
}

/* Those that are behind may get theirs yet. */
static void stop(uint64_t newest, double limit) {
  double end = now(CLOCK_MONOTONIC) + limit;
  int late;
  long missed = 0;
  while ((late = behind(newest)) && now(CLOCK_MONOTONIC) < end) turn(5);
  for (struct viewer *v = viewers; v < viewers + count; v++)
    missed += known_up_to(v->last) - known_up_to(v->first) - v->got;
  printf("{\"served\":%d,\"events\":%ld,\"missed\":%ld,\"behind\":%d,\"repeated\":%ld,"
         "\"histories\":%ld,\"closed\":%d,\"refused\":%d,\"bytes\":%ld,\"reads\":%ld,",
         served, events, missed, late, repeated, histories, closed_by_server, refused, bytes,
         reads);
  tell_ids(begun_after);
  tell_delays();
  printf("}\n");
}

static void read_paths(const char *name) {
  FILE *file = fopen(name, "r");
  char *line = NULL;
  size_t room = 0;
  if (!file) fail(name);
  while (getline(&line, &room, file) > 0) {
    line[strcspn(line, "\n")] = 0;
    paths = realloc(paths, sizeof *paths * (paths_count + 1));
    paths[paths_count++] = strdup(line);
  }
  fclose(file);
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  port = atoi(argv[1]);
  count = atoi(argv[2]);
  read_paths(argv[3]);
  first = atoi(argv[4]);
  viewers = calloc(count, sizeof *viewers);
  waiting_line = calloc(count, sizeof *waiting_line);
  poller = epoll_create1(0);
  struct epoll_event wanted = {.events = EPOLLIN};
  epoll_ctl(poller, EPOLL_CTL_ADD, 0, &wanted);
  for (int i = 0; i < count; i++) queue(&viewers[i], 0);
  char command[200];
  double rate, limit;
  uint64_t time, number;
  int most;
  setvbuf(stdin, NULL, _IONBF, 0); /* a buffered second command would not wake epoll */
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (;;) {
    if (!turn(1000)) continue;
    if (!fgets(command, sizeof command, stdin)) return 0;
    if (sscanf(command, "connect %lf %d %lf", &rate, &most, &limit) == 3)
      connect_all(rate, most, limit);
    else if (sscanf(command, "stop %lu-%lu %lf", &time, &number, &limit) == 3)
      stop(time << 20 | (number & 0xfffff), limit);
    else if (!strcmp(command, "leave\n")) leave();
    else if (!strcmp(command, "served\n")) printf("{\"served\":%d}\n", served);
    else if (!strcmp(command, "start\n")) start();
    else if (!strcmp(command, "quiet\n")) tell_newest();
  }
}
