/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/post.h for the model.
 *
 * Letters come in the order of their sending, and so do the messages of a ring. So when a ticket is
 * asked for, what came before it belongs to no message that anybody will see: it is thrown away. If
 * the ticket is not there, because its letter went with an earlier box, all is kept.
 */
#include <cshm/post.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct letter {
    struct letter *next;
    struct cshm__letter content;
};

struct cshm_post {
    int socket;
    struct letter *first; /* taken out of the socket on the way to another */
    struct letter **end;
};

static void name_of(const cshm_region *region, uint64_t offset, char name[CSHM__POST_NAME])
{
    struct cshm_region_info info;
    uint64_t words[2];
    cshm_region_describe(region, &info);
    memcpy(words, info.uuid, sizeof words);
    cshm__post_name(words, offset, name);
}

int cshm_post_open(const cshm_region *region, uint64_t offset, cshm_post **out)
{
    char name[CSHM__POST_NAME];
    cshm_post *post = calloc(1, sizeof *post);
    if (post == NULL) {
        return -ENOMEM;
    }
    name_of(region, offset, name);
    post->end = &post->first;
    post->socket = cshm__post_listen(name);
    if (post->socket < 0) {
        int status = post->socket;
        free(post);
        return status;
    }
    *out = post;
    return 0;
}

static void close_all(const struct cshm__letter *letter)
{
    for (uint32_t i = 0; i < letter->count; i++) {
        cshm__close(letter->descriptors[i]);
    }
}

/* Throws away all letters before that one. */
static void forget_before(cshm_post *post, const struct letter *one)
{
    while (post->first != one) {
        struct letter *letter = post->first;
        post->first = letter->next;
        close_all(&letter->content);
        free(letter);
    }
    if (post->first == NULL) {
        post->end = &post->first;
    }
}

void cshm_post_close(cshm_post *post)
{
    forget_before(post, NULL);
    cshm__close(post->socket);
    free(post);
}

int cshm_post_send(const cshm_region *region, uint64_t offset, uint64_t ticket,
                   const int *descriptors, uint32_t count)
{
    char name[CSHM__POST_NAME];
    if (count == 0 || count > CSHM_POST_MAX) {
        return -EINVAL;
    }
    name_of(region, offset, name);
    return cshm__post_send(name, ticket, descriptors, count);
}

/* @returns 0, or why there is no other letter. */
static int receive_one(cshm_post *post)
{
    struct letter *letter = calloc(1, sizeof *letter);
    if (letter == NULL) {
        return -ENOMEM;
    }
    int status = cshm__post_receive(post->socket, &letter->content);
    if (status != 0) {
        free(letter);
        return status;
    }
    *post->end = letter;
    post->end = &letter->next;
    return 0;
}

/* The letter of that ticket, from those at hand or else from the socket. */
static int find(cshm_post *post, uint64_t ticket, struct letter **out)
{
    struct letter *letter = post->first;
    for (;;) {
        if (letter == NULL) {
            struct letter **last = post->end;
            int status = receive_one(post);
            if (status != 0) {
                return status == -EAGAIN ? -ENOENT : status;
            }
            letter = *last;
        }
        if (letter->content.ticket == ticket) {
            *out = letter;
            return 0;
        }
        letter = letter->next;
    }
}

int cshm_post_take(cshm_post *post, uint64_t ticket, int *descriptors, uint32_t capacity)
{
    struct letter *letter = NULL;
    int status = find(post, ticket, &letter);
    if (status != 0) {
        return status;
    }
    struct cshm__letter *content = &letter->content;
    status = content->is_cut ? -EMFILE : content->count > capacity ? -EMSGSIZE : 0;
    if (status == 0) {
        memcpy(descriptors, content->descriptors, content->count * sizeof *descriptors);
        status = (int)content->count;
        content->count = 0; /* the caller's now */
    }
    forget_before(post, letter->next);
    return status;
}
