/* The floor: one epoll loop that writes a ready-made frame to every client.
 *
 *   loop PORT RATE     frames of its own, so many a second; see ../frame.py for their form
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1 << 16 };
static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                           "Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n";
static char open_clients[MOST];
static int highest;

static void drop(int client) {
  open_clients[client] = 0;
  close(client);
}

static int made(char *chunk, long number) {
  char frame[500];
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  long at = t.tv_sec * 1000L + t.tv_nsec / 1000000;
  long total = 1000 + number;
  int length = sprintf(frame,
    "event: counts\ndata: {\"at\":%ld,\"tick\":0.5,"
    "\"counts\":{\"science\":%ld,\"football\":%ld},"
    "\"people\":{\"science\":%ld,\"football\":%ld},\"names\":{},"
    "\"sources\":{\"bluesky\":\"live\"},"
    "\"details\":{\"bluesky\":{\"since\":1732390000000,\"reason\":\"\"}}}\nid: %ld-0\n\n",
    at, total, total, total, total, at);
  return sprintf(chunk, "%x\r\n%s\r\n", length, frame);
}

static void to_all(void) {
  static long number;
  char chunk[600];
  int length = made(chunk, number++);
  for (int client = 0; client <= highest; client++)
    if (open_clients[client] && send(client, chunk, length, MSG_NOSIGNAL) != length)
      drop(client);
}

static void hear(int client) {
  char request[2048];
  long length = recv(client, request, sizeof request, 0);
  if (length <= 0) {
    drop(client);
  } else if (length >= 4 && !memcmp(request + length - 4, "\r\n\r\n", 4)) {
    send(client, HEAD, sizeof HEAD - 1, MSG_NOSIGNAL);
    open_clients[client] = 1;
    if (client > highest) highest = client;
  }
}

static void watch(int poller, int fd) {
  struct epoll_event wanted = {.events = EPOLLIN, .data.fd = fd};
  epoll_ctl(poller, EPOLL_CTL_ADD, fd, &wanted);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int listener = socket(AF_INET, SOCK_STREAM, 0), poller = epoll_create1(0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
  if (bind(listener, (void *)&here, sizeof here) || listen(listener, 2048)) return 1;
  int timer = timerfd_create(CLOCK_MONOTONIC, 0);
  double every = 1 / atof(argv[2]);
  struct timespec step = {every, (every - (long)every) * 1e9};
  timerfd_settime(timer, 0, &(struct itimerspec){step, step}, NULL);
  watch(poller, listener);
  watch(poller, timer);
  for (;;) {
    struct epoll_event found[256];
    int n = epoll_wait(poller, found, 256, -1);
    for (int i = 0; i < n; i++) {
      int fd = found[i].data.fd;
      uint64_t times;
      if (fd == timer) {
        if (read(timer, &times, sizeof times) > 0) to_all();
      } else if (fd == listener) {
        int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        if (client >= 0 && client < MOST) watch(poller, client);
      } else {
        hear(fd);
      }
    }
  }
}
