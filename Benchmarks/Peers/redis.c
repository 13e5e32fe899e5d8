/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Peers: a redis-server of its own for each measurement, over a Unix socket, keeping nothing on disk. As
 * a queue, LPUSH and BRPOP; as a dictionary, GET and SET. One call at a time, as in the other peers.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bench_map.h>

enum { BUFFER = 1 << 16, TRIES = 500 };

struct server {
    pid_t pid;
    uint32_t size;
    char path[64];
};

struct connection {
    int socket;
    struct server *server;
    char key[32]; /* of the list */
    char bytes[BUFFER];
};

/* ---- a connection ---- */

static bool send_all(int socket, const void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t sent = send(socket, (const char *)bytes + done, size - done, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        done += (size_t)sent;
    }
    return true;
}

static bool receive_all(int socket, void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = recv(socket, (char *)bytes + done, size - done, 0);
        if (got <= 0) {
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (made >= 0 && connect(made, (void *)&address, sizeof address) != 0) {
        close(made);
        return -1;
    }
    return made;
}

/* Reads one line of an answer, without its end. */
static bool read_line(int socket, char line[64])
{
    for (int i = 0; i < 63; i++) {
        if (!receive_all(socket, line + i, 1)) {
            return false;
        }
        if (line[i] == '\n') {
            line[i - (i > 0)] = 0;
            return true;
        }
    }
    return false;
}

/* ---- the server ---- */

static void stop(struct server *server)
{
    kill(server->pid, SIGTERM);
    waitpid(server->pid, NULL, 0);
    unlink(server->path);
    free(server);
}

static int start(const struct bench_shape *shape, struct server **out)
{
    static unsigned number;
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL || shape->size > BUFFER / 2) {
        free(server);
        return -EINVAL;
    }
    server->size = shape->size;
    snprintf(server->path, sizeof server->path, "/tmp/sharedstate.bench.%d.redis%u", (int)getpid(),
             number++);
    server->pid = fork();
    if (server->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (freopen("/dev/null", "w", stdout) != NULL) {
            execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", server->path,
                   "--save", "", "--appendonly", "no", (char *)NULL);
        }
        _exit(1);
    }
    for (int i = 0; i < TRIES; i++) {
        int probe = connect_to(server->path);
        if (probe >= 0) {
            close(probe);
            *out = server;
            return 0;
        }
        usleep(10000); /* until it listens, of which it tells nobody */
    }
    stop(server);
    return -ETIMEDOUT;
}

static int open_side(void *state, bool producer, void **handle)
{
    struct connection *made = calloc(1, sizeof *made);
    (void)producer;
    if (made == NULL) {
        return -ENOMEM;
    }
    made->server = state;
    made->socket = connect_to(made->server->path);
    snprintf(made->key, sizeof made->key, "messages");
    *handle = made;
    return made->socket >= 0 ? 0 : -EIO;
}

/* ---- a queue ---- */

static int queue_create(const struct bench_shape *shape, void **state)
{
    return start(shape, (struct server **)state);
}

static void queue_destroy(void *state)
{
    stop(state);
}

static uint32_t put(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct connection *to = handle;
    char answer[64];
    (void)count;
    int head = snprintf(to->bytes, BUFFER, "*3\r\n$5\r\nLPUSH\r\n$%zu\r\n%s\r\n$%u\r\n",
                        strlen(to->key), to->key, size);
    memcpy(to->bytes + head, bytes, size);
    memcpy(to->bytes + head + size, "\r\n", 2);
    return send_all(to->socket, to->bytes, (size_t)head + size + 2) &&
           read_line(to->socket, answer) && answer[0] == ':';
}

static uint32_t take(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct connection *from = handle;
    (void)count;
    /* "*2 $8 messages $size", in lines, and then the message in one */
    int ask = snprintf(from->bytes, BUFFER, "*3\r\n$5\r\nBRPOP\r\n$%zu\r\n%s\r\n$1\r\n0\r\n",
                       strlen(from->key), from->key);
    char head[96];
    int length = snprintf(head, sizeof head, "*2\r\n$%zu\r\n%s\r\n$%u\r\n", strlen(from->key),
                          from->key, size);
    if (!send_all(from->socket, from->bytes, (size_t)ask) ||
        !receive_all(from->socket, from->bytes, (size_t)length + size + 2) ||
        memcmp(from->bytes, head, (size_t)length) != 0) {
        return 0;
    }
    memcpy(bytes, from->bytes + length, size);
    return 1;
}

BENCH_CHANNEL(redis_queue, "redis", queue_create, queue_destroy, open_side, put, take);

/* ---- a dictionary ---- */

static size_t put_command(char *to, const struct bench_key *key, const struct bench_value *value,
                          uint32_t size)
{
    int head = snprintf(to, 128, "*3\r\n$3\r\nSET\r\n$%zu\r\n", sizeof *key);
    memcpy(to + head, key, sizeof *key);
    int middle = snprintf(to + head + sizeof *key, 64, "\r\n$%u\r\n", size);
    char *end = to + head + sizeof *key + middle;
    memcpy(end, value, size);
    memcpy(end + size, "\r\n", 2);
    return (size_t)(end - to) + size + 2;
}

static bool set(void *handle, const struct bench_key *key, const struct bench_value *value,
                uint32_t size)
{
    struct connection *to = handle;
    char answer[64];
    size_t length = put_command(to->bytes, key, value, size);
    return send_all(to->socket, to->bytes, length) && read_line(to->socket, answer) &&
           strcmp(answer, "+OK") == 0;
}

static bool get(void *handle, const struct bench_key *key, struct bench_value *value, uint32_t size)
{
    struct connection *from = handle;
    char head[32];
    int ask = snprintf(from->bytes, BUFFER, "*2\r\n$3\r\nGET\r\n$%zu\r\n", sizeof *key);
    memcpy(from->bytes + ask, key, sizeof *key);
    memcpy(from->bytes + ask + sizeof *key, "\r\n", 2);
    int length = snprintf(head, sizeof head, "$%u\r\n", size);
    if (!send_all(from->socket, from->bytes, (size_t)ask + sizeof *key + 2) ||
        !receive_all(from->socket, from->bytes, (size_t)length + size + 2) ||
        memcmp(from->bytes, head, (size_t)length) != 0) {
        return false;
    }
    memcpy(value, from->bytes + length, size);
    return true;
}

/* A hundred at a time. */
static bool fill(struct connection *to)
{
    enum { EACH = 100 };
    char answer[64];
    for (uint64_t first = 0; first < BENCH_KEYS; first += EACH) {
        size_t length = 0;
        for (uint64_t number = first; number < first + EACH; number++) {
            struct bench_key key = bench_key_of(number);
            struct bench_value value;
            bench_fill(&value, number, to->server->size);
            length += put_command(to->bytes + length, &key, &value, to->server->size);
        }
        if (!send_all(to->socket, to->bytes, length)) {
            return false;
        }
        for (int i = 0; i < EACH; i++) {
            if (!read_line(to->socket, answer) || strcmp(answer, "+OK") != 0) {
                return false;
            }
        }
    }
    return true;
}

static int map_create(const struct bench_shape *shape, void **state)
{
    struct server *server = NULL;
    void *connection = NULL;
    int status = start(shape, &server);
    if (status != 0) {
        return status;
    }
    status = open_side(server, true, &connection);
    status = status == 0 && !fill(connection) ? -EIO : status;
    if (connection != NULL) {
        close(((struct connection *)connection)->socket);
        free(connection);
    }
    if (status != 0) {
        stop(server);
        return status;
    }
    *state = server;
    return 0;
}

static void *handle_of(void *state)
{
    static void *handle; /* the parent's, of the last server that it asked */
    free(handle);
    handle = NULL;
    return open_side(state, true, &handle) == 0 ? handle : NULL;
}

static uint32_t size_of(void *state)
{
    return ((struct server *)state)->size;
}

BENCH_MAP(redis, "redis", map_create, queue_destroy, open_side, get, set, handle_of, size_of);

const struct bench_channel *const bench_peers[] = {
    &redis_queue, &redis_get, &redis_set, &redis_mix95, &redis_mix50, NULL,
};
