/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/post.h.
 */
#include "support.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

#include <cshm/post.h>

extern const struct test post_tests[];

enum {
    PLACE = 64,
};

struct pipe_pair {
    int read;
    int write;
};

static struct pipe_pair make_pipe(void)
{
    int ends[2];
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    return (struct pipe_pair){ends[0], ends[1]};
}

/* True once nobody has the writing end any more. */
static bool is_hung_up(int read_end)
{
    struct pollfd poll_fd = {.fd = read_end, .events = POLLIN};
    CHECK(poll(&poll_fd, 1, 0) >= 0);
    return (poll_fd.revents & POLLHUP) != 0;
}

static cshm_post *open_post(cshm_region *region)
{
    cshm_post *post = NULL;
    CHECK_EQ(cshm_post_open(region, PLACE, &post), 0);
    return post;
}

static void send_and_forget(cshm_region *region, uint64_t ticket, int descriptor)
{
    CHECK_EQ(cshm_post_send(region, PLACE, ticket, &descriptor, 1), 0);
    close(descriptor);
}

static void delivers(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_post *post = open_post(region);
    cshm_post *other = NULL;
    struct pipe_pair pair = make_pipe();
    int sent[2] = {pair.read, pair.write};
    int taken[2] = {-1, -1};
    char byte = 0;
    CHECK_EQ(cshm_post_open(region, PLACE, &other), -EADDRINUSE);
    CHECK_EQ(cshm_post_send(region, PLACE + 64, 1, sent, 2), -ECONNREFUSED);
    CHECK_EQ(cshm_post_send(region, PLACE, 1, sent, 0), -EINVAL);
    CHECK_EQ(cshm_post_send(region, PLACE, 7, sent, 2), 0);
    CHECK_EQ(cshm_post_take(post, 8, taken, 2), -ENOENT); /* and 7 is still there */
    CHECK_EQ(cshm_post_take(post, 7, taken, 2), 2);
    CHECK_EQ(cshm_post_take(post, 7, taken, 2), -ENOENT);
    CHECK(taken[0] != pair.read && (fcntl(taken[0], F_GETFD) & FD_CLOEXEC) != 0);
    CHECK_EQ(write(taken[1], "x", 1), 1);
    CHECK_EQ(read(pair.read, &byte, 1), 1);
    CHECK_EQ(byte, 'x');
    cshm_post_close(post);
    post = open_post(region); /* the name is free again */
    cshm_post_close(post);
    cshm_region_close(region);
}

static void throws_away(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_post *post = open_post(region);
    struct pipe_pair orphan = make_pipe();
    struct pipe_pair wanted = make_pipe();
    struct pipe_pair later = make_pipe();
    int taken = -1;
    send_and_forget(region, 1, orphan.write);
    send_and_forget(region, 2, wanted.write);
    send_and_forget(region, 3, later.write);
    CHECK(!is_hung_up(orphan.read));
    CHECK_EQ(cshm_post_take(post, 9, &taken, 1), -ENOENT);
    CHECK(!is_hung_up(orphan.read)); /* 9 went with another box: that says nothing of these */
    CHECK_EQ(cshm_post_take(post, 2, &taken, 1), 1);
    CHECK(is_hung_up(orphan.read));
    CHECK(!is_hung_up(wanted.read));
    close(taken);
    CHECK(is_hung_up(wanted.read));
    CHECK(!is_hung_up(later.read));
    cshm_post_close(post);
    CHECK(is_hung_up(later.read));
    cshm_region_close(region);
}

static void says_what_does_not_fit(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_post *post = open_post(region);
    struct pipe_pair pair = make_pipe();
    int both[2] = {pair.write, pair.write};
    int taken = -1;
    CHECK_EQ(cshm_post_send(region, PLACE, 1, both, 2), 0);
    CHECK_EQ(cshm_post_take(post, 1, &taken, 1), -EMSGSIZE);
    CHECK_EQ(cshm_post_send(region, PLACE, 2, both, 2), 0);
    struct rlimit old;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = old.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    int status = cshm_post_take(post, 2, both, 2);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
    CHECK_EQ(status, -EMFILE);
    close(pair.write);
    CHECK(is_hung_up(pair.read)); /* nothing of either is left */
    int bad = -1;
    CHECK_EQ(cshm_post_send(region, PLACE, 3, &bad, 1), -EBADF);
    cshm_post_close(post);
    cshm_region_close(region);
}

static void is_full(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_post *post = open_post(region);
    struct pipe_pair pair = make_pipe();
    uint64_t sent = 0;
    int status = 0;
    while (status == 0) {
        status = cshm_post_send(region, PLACE, ++sent, &pair.write, 1);
    }
    CHECK(status == -EAGAIN || status == -ETOOMANYREFS);
    int taken = -1;
    CHECK_EQ(cshm_post_take(post, 1, &taken, 1), 1);
    close(taken);
    CHECK_EQ(cshm_post_send(region, PLACE, sent, &pair.write, 1), 0);
    for (uint64_t ticket = 2; ticket <= sent; ticket++) {
        CHECK_EQ(cshm_post_take(post, ticket, &taken, 1), 1);
        close(taken);
    }
    cshm_post_close(post);
    cshm_region_close(region);
}

static void send_three(cshm_region *region, void *context)
{
    struct pipe_pair *pair = context;
    for (uint64_t ticket = 1; ticket <= 3; ticket++) {
        CHECK_EQ(cshm_post_send(region, PLACE, ticket, &pair->write, 1), 0);
    }
    raise(SIGKILL);
}

static void outlives_its_sender(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_post *post = open_post(region);
    struct pipe_pair pair = make_pipe();
    int taken = -1;
    pid_t child = spawn(region, send_three, &pair);
    close(pair.write);
    expect_killed(child);
    CHECK(!is_hung_up(pair.read));
    CHECK_EQ(cshm_post_take(post, 2, &taken, 1), 1);
    close(taken);
    cshm_post_close(post);
    CHECK(is_hung_up(pair.read));
    cshm_region_close(region);
}

static void receive_and_die(cshm_region *region, void *context)
{
    cshm_post *post = open_post(region);
    _Atomic uint32_t *step = context;
    int taken = -1;
    atomic_store(step, 1);
    wait_until_set(step, 2);
    CHECK_EQ(cshm_post_take(post, 2, &taken, 1), 1);
    atomic_store(step, 3);
    pause();
}

static void dies_with_its_receiver(void)
{
    cshm_region *region = make_region(1u << 20);
    _Atomic uint32_t *step = shared_memory(sizeof *step);
    struct pipe_pair pair = make_pipe();
    pid_t child = spawn(region, receive_and_die, (void *)(uintptr_t)step);
    wait_until_set(step, 1);
    for (uint64_t ticket = 1; ticket <= 3; ticket++) {
        CHECK_EQ(cshm_post_send(region, PLACE, ticket, &pair.write, 1), 0);
    }
    atomic_store(step, 2);
    wait_until_set(step, 3);
    kill_child(child);
    cshm_post *post = open_post(region);
    int taken = -1;
    CHECK_EQ(cshm_post_take(post, 3, &taken, 1), -ENOENT);
    cshm_post_close(post);
    close(pair.write);
    CHECK(is_hung_up(pair.read));
    cshm_region_close(region);
}

const struct test post_tests[] = {
    {"delivers_what_was_sent_under_the_ticket", delivers},
    {"throws_away_what_no_message_names", throws_away},
    {"says_what_does_not_fit_and_keeps_nothing_of_it", says_what_does_not_fit},
    {"full_is_told_and_taking_makes_room", is_full},
    {"what_a_killed_process_sent_arrives", outlives_its_sender},
    {"killed_process_takes_its_box_along", dies_with_its_receiver},
    {NULL, NULL},
};
