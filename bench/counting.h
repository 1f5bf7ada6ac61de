/* What the viewers of viewers.c counted: the ids that any of them had, in order, and delays. */

enum { SLOWEST = 60000 };

static long delays[SLOWEST + 1]; /* how many events came so many milliseconds after their time */
static uint64_t *known;
static long known_count, known_room;

/* Put a key in its place among the known ones; nearly always that is the end. */
static void know(uint64_t key) {
  if (known_count && key <= known[known_count - 1]) {
    long low = 0, high = known_count;
    while (low < high) {
      long middle = (low + high) / 2;
      if (known[middle] < key) low = middle + 1; else high = middle;
    }
    if (known[low] == key) return;
    known = realloc(known, sizeof *known * (known_room = known_count + 1024));
    memmove(known + low + 1, known + low, sizeof *known * (known_count - low));
    known[low] = key;
    known_count++;
    return;
  }
  if (known_count == known_room)
    known = realloc(known, sizeof *known * (known_room += 1024));
  known[known_count++] = key;
}

static long known_up_to(uint64_t key) {
  long low = 0, high = known_count;
  while (low < high) {
    long middle = (low + high) / 2;
    if (known[middle] <= key) low = middle + 1; else high = middle;
  }
  return low;
}

static void tell_ids(uint64_t after) {
  printf("\"after\":\"%lu-%lu\",\"known\":[", after >> 20, after & 0xfffff);
  for (long i = 0; i < known_count; i++)
    printf("%s\"%lu-%lu\"", i ? "," : "", known[i] >> 20, known[i] & 0xfffff);
  printf("],");
}

/* [milliseconds, events], where there were any. */
static void tell_delays(void) {
  const char *between = "";
  printf("\"delays\":[");
  for (int i = 0; i <= SLOWEST; i++)
    if (delays[i]) printf("%s[%d,%ld]", between, i, delays[i]), between = ",";
  printf("]");
}
