/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/region.h for the model. A region is filled completely before it can be found: an
 * anonymous one before its descriptor is passed, a named one before linkat gives it a name.
 */
#include <cshm/region.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cshm/heap.h>

#include "anchor_view.h"
#include "internal.h"

enum { ENDIAN_PROBE = 0x01020304 };

static const uint8_t MAGIC[8] = {'S', 'H', 'S', 'T', 'A', 'T', 'E', '\n'};
static const uint64_t CAPACITY_MIN = 1ull << 20;
static const uint64_t CAPACITY_MAX = 1ull << 40;

/* Every region of this process, so that a forked child stops being its parent. */
static cshm_region *all_regions;
static pthread_mutex_t all_regions_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t fork_handler_once = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
    pthread_mutex_lock(&all_regions_lock);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&all_regions_lock);
}

/* The inherited descriptor would keep the parent's lock alive after its death: close it. */
static void after_fork_in_child(void)
{
    for (cshm_region *region = all_regions; region != NULL; region = region->next) {
        if (region->life >= 0) {
            close(region->life);
            region->life = -1;
        }
        atomic_store_explicit(&region->stamp, 0, memory_order_relaxed);
        pthread_mutex_init(&region->sweep_lock, NULL);
        cshm__heap_after_fork(region);
        cshm__anchor_after_fork(region);
    }
    pthread_mutex_unlock(&all_regions_lock);
}

static void install_fork_handler(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

static uint64_t fnv1a(const void *data, size_t length)
{
    const uint8_t *bytes = data;
    uint64_t hash = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3ull;
    }
    return hash;
}

static uint64_t checksum(const struct cshm_header *header)
{
    return fnv1a(header, offsetof(struct cshm_header, checksum));
}

/* What two builds must agree on, of the C library's too. */
static uint32_t layout_id(void)
{
#define SIZE(name) (uint32_t)sizeof(struct name),
    static const uint32_t facts[] = {CSHM_LAYOUT_VERSION,
                                     CSHM_LINE,
                                     CSHM_PAGE,
                                     CSHM_SPAN,
                                     CSHM_CLASSES,
                                     CSHM_PARTICIPANTS_MAX,
                                     sizeof(pthread_mutex_t),
                                     CSHM_STRUCTS(SIZE)};
#undef SIZE
    return (uint32_t)fnv1a(facts, sizeof facts);
}

static uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static int make_header(const struct cshm_region_options *options, struct cshm_header *header)
{
    uint64_t capacity = options == NULL ? 0 : options->capacity;
    if (capacity == 0) {
        capacity = cshm__default_capacity();
        capacity = capacity < CAPACITY_MIN ? CAPACITY_MIN : capacity;
        capacity = capacity > CAPACITY_MAX ? CAPACITY_MAX : capacity;
    }
    if (capacity < CAPACITY_MIN || capacity > CAPACITY_MAX) {
        return -EINVAL;
    }
    capacity = round_up(capacity, CSHM_SPAN);
    memset(header, 0, sizeof *header);
    memcpy(header->magic, MAGIC, sizeof MAGIC);
    header->layout_id = layout_id();
    header->endian = ENDIAN_PROBE;
    header->capacity = capacity;
    header->spans_offset = CSHM_SPANS_OFFSET;
    header->span_count = capacity / CSHM_SPAN;
    header->heap_offset =
        round_up(CSHM_SPANS_OFFSET + header->span_count * sizeof(struct cshm_span), CSHM_SPAN);
    header->span_count = (capacity - header->heap_offset) / CSHM_SPAN;
    header->pid_namespace = cshm__pid_namespace();
    int status = cshm__random(header->uuid, sizeof header->uuid);
    header->checksum = checksum(header);
    return status;
}

/* Whether these bytes are a region that this build can use; nothing else was touched before. */
static int check_header(const struct cshm_header *header, const struct stat *file)
{
    if (memcmp(header->magic, MAGIC, sizeof MAGIC) != 0) {
        return -EBADMSG;
    }
    if (header->layout_id != layout_id() || header->endian != ENDIAN_PROBE ||
        header->checksum != checksum(header) || header->capacity < CAPACITY_MIN ||
        header->capacity > CAPACITY_MAX || (uint64_t)file->st_size != header->capacity ||
        header->spans_offset != CSHM_SPANS_OFFSET || header->heap_offset % CSHM_SPAN != 0 ||
        header->heap_offset >= header->capacity ||
        header->span_count != (header->capacity - header->heap_offset) / CSHM_SPAN) {
        return -EPROTO;
    }
    return header->pid_namespace == cshm__pid_namespace() ? 0 : -EXDEV;
}

/* Maps a file whose header was checked; takes the descriptor over. */
static int map_file(int fd, const struct cshm_header *header, int protection, cshm_region **out)
{
    pthread_once(&fork_handler_once, install_fork_handler);
    cshm__let_be_interrupted();
    cshm__lockwatch_ask_environment();
    cshm_region *region = calloc(1, sizeof *region);
    if (region == NULL) {
        close(fd);
        return -ENOMEM;
    }
    void *base = mmap(NULL, header->capacity, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED) {
        int status = -errno;
        close(fd);
        free(region);
        return status;
    }
    /* A core dump would otherwise allocate the whole reserve. */
    madvise(base, header->capacity, MADV_DONTDUMP);
    region->base = base;
    region->header = *header;
    region->live = (struct cshm_live *)(void *)(region->base + CSHM_LIVE_OFFSET);
    region->participants =
        (struct cshm_participant_entry *)(void *)(region->base + CSHM_PARTICIPANTS_OFFSET);
    region->spans = (struct cshm_span *)(void *)(region->base + header->spans_offset);
    region->share = fd;
    region->life = -1;
    region->is_read_only = (protection & PROT_WRITE) == 0;
    pthread_mutex_init(&region->sweep_lock, NULL);
    cshm__heap_after_fork(region);
    cshm__anchor_after_fork(region);
    pthread_mutex_lock(&all_regions_lock);
    region->next = all_regions;
    all_regions = region;
    pthread_mutex_unlock(&all_regions_lock);
    *out = region;
    return 0;
}

cshm_region *cshm__region_of(const void *address)
{
    const uint8_t *bytes = address;
    pthread_mutex_lock(&all_regions_lock);
    cshm_region *region = all_regions;
    while (region != NULL &&
           (bytes < region->base || bytes >= region->base + region->header.capacity)) {
        region = region->next;
    }
    pthread_mutex_unlock(&all_regions_lock);
    return region;
}

static int join_or_close(cshm_region *region, cshm_region **out)
{
    int status = cshm_region_join(region);
    if (status != 0) {
        cshm_region_close(region);
        return status;
    }
    *out = region;
    return 0;
}

/* Sizes, commits and fills a file that nobody else can see. Takes the descriptor over. */
static int fill_file(int fd, const struct cshm_header *header, cshm_region **out)
{
    int status = ftruncate(fd, (off_t)header->capacity) == 0 ? 0 : -errno;
    if (status == 0) {
        status = cshm__commit(fd, 0, CSHM_SPANS_OFFSET);
    }
    if (status != 0) {
        close(fd);
        return status;
    }
    status = map_file(fd, header, PROT_READ | PROT_WRITE, out);
    if (status == 0) {
        memcpy((*out)->base, header, sizeof *header);
        cshm__heap_init(*out);
        cshm_mutex_init(&(*out)->live->directory_lock);
    }
    return status;
}

int cshm_region_create(const struct cshm_region_options *options, cshm_region **out)
{
    struct cshm_header header;
    cshm_region *region = NULL;
    int status = make_header(options, &header);
    if (status != 0) {
        return status;
    }
    int fd = memfd_create("sharedstate", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return -errno;
    }
    status = fill_file(fd, &header, &region);
    if (status != 0) {
        return status;
    }
    if (fcntl(region->share, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        status = -errno;
        cshm_region_close(region);
        return status;
    }
    return join_or_close(region, out);
}

/* "/dev/shm/" and the name, or -EINVAL. */
static int path_of(const char *name, char path[CSHM_NAME_MAX + 16])
{
    size_t length = name == NULL ? 0 : strlen(name);
    if (length == 0 || length > CSHM_NAME_MAX || name[0] == '.' || strchr(name, '/') != NULL) {
        return -EINVAL;
    }
    snprintf(path, CSHM_NAME_MAX + 16, "/dev/shm/%s", name);
    return 0;
}

int cshm_region_create_named(const char *name, const struct cshm_region_options *options,
                             cshm_region **out)
{
    struct cshm_header header;
    char path[CSHM_NAME_MAX + 16];
    char self[32];
    cshm_region *region = NULL;
    int status = path_of(name, path);
    if (status == 0) {
        status = make_header(options, &header);
    }
    if (status != 0) {
        return status;
    }
    if (access(path, F_OK) == 0) {
        return -EEXIST; /* the common case, before any memory is committed; linkat decides */
    }
    int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -errno;
    }
    status = fill_file(fd, &header, &region);
    if (status != 0) {
        return status;
    }
    snprintf(self, sizeof self, "/proc/self/fd/%d", region->share);
    if (linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) != 0) {
        status = -errno;
        cshm_region_close(region);
        return status;
    }
    return join_or_close(region, out);
}

/* Reads and checks the header of an open file. */
static int read_header(int fd, struct cshm_header *header)
{
    struct stat file;
    if (fstat(fd, &file) != 0) {
        return -errno;
    }
    if (!S_ISREG(file.st_mode) || file.st_size < (off_t)CSHM_PAGE) {
        return -EBADMSG;
    }
    if (file.st_uid != geteuid()) {
        return -EACCES;
    }
    if (pread(fd, header, sizeof *header, 0) != (ssize_t)sizeof *header) {
        return -EBADMSG;
    }
    return check_header(header, &file);
}

static int map_descriptor(int fd, int protection, cshm_region **out)
{
    struct cshm_header header;
    int status = read_header(fd, &header);
    if (status != 0) {
        close(fd);
        return status;
    }
    return map_file(fd, &header, protection, out);
}

static int map_named(const char *name, int protection, cshm_region **out)
{
    char path[CSHM_NAME_MAX + 16];
    int status = path_of(name, path);
    if (status != 0) {
        return status;
    }
    int access = (protection & PROT_WRITE) != 0 ? O_RDWR : O_RDONLY;
    int fd = open(path, access | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return errno == ELOOP ? -EBADMSG : -errno;
    }
    return map_descriptor(fd, protection, out);
}

int cshm_region_open(const char *name, cshm_region **out)
{
    cshm_region *region = NULL;
    int status = map_named(name, PROT_READ | PROT_WRITE, &region);
    return status == 0 ? join_or_close(region, out) : status;
}

int cshm_region_open_read_only(const char *name, cshm_region **out)
{
    return map_named(name, PROT_READ, out);
}

int cshm_region_map(int descriptor, cshm_region **out)
{
    int fd = fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
    return fd < 0 ? -errno : map_descriptor(fd, PROT_READ | PROT_WRITE, out);
}

int cshm_region_attach(int descriptor, cshm_region **out)
{
    cshm_region *region = NULL;
    int status = cshm_region_map(descriptor, &region);
    return status == 0 ? join_or_close(region, out) : status;
}

int cshm_region_join(cshm_region *region)
{
    if (cshm_participant_self(region) != 0) {
        return -EALREADY;
    }
    if (region->is_read_only) {
        return -EROFS;
    }
    if (region->header.pid_namespace != cshm__pid_namespace()) {
        return -EXDEV; /* forked into another, where process and thread ids are others' */
    }
    return cshm__participant_join(region);
}

int cshm_region_close(cshm_region *region)
{
    if (cshm__holds_mutex(region->base, region->header.capacity)) {
        return -EBUSY;
    }
    pthread_mutex_lock(&all_regions_lock);
    cshm_region **link = &all_regions;
    while (*link != NULL && *link != region) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        *link = region->next;
    }
    pthread_mutex_unlock(&all_regions_lock);
    bool gave_up = cshm__anchor_leave(region);
    bool swept =
        cshm__heap_leave(region) && gave_up; /* if not, who joins next looks for the rest */
    cshm__participant_leave(region, swept);
    munmap(region->base, region->header.capacity);
    close(region->share);
    pthread_mutex_destroy(&region->sweep_lock);
    free(region);
    return 0;
}

int cshm_region_descriptor(const cshm_region *region)
{
    return region->share;
}

void cshm_region_describe(const cshm_region *region, struct cshm_region_info *out)
{
    memcpy(out->uuid, region->header.uuid, sizeof out->uuid);
    out->capacity = region->header.capacity;
    out->committed =
        region->header.heap_offset +
        atomic_load_explicit(&region->live->committed_spans, memory_order_relaxed) * CSHM_SPAN;
    out->participants = 0;
    for (uint32_t i = 0; i < CSHM_PARTICIPANTS_MAX; i++) {
        uint64_t state = atomic_load_explicit(&region->participants[i].state, memory_order_relaxed);
        out->participants += (state >> 56) == CSHM_PARTICIPANT_LIVE ? 1 : 0;
    }
}

int cshm_region_remove(const char *name)
{
    char path[CSHM_NAME_MAX + 16];
    struct cshm_header header;
    int status = path_of(name, path);
    if (status != 0) {
        return status;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return -errno;
    }
    status = read_header(fd, &header);
    close(fd);
    /* Another build's region may be removed: that is how one gets rid of it. */
    if (status == -EBADMSG || status == -EACCES) {
        return status;
    }
    return unlink(path) == 0 ? 0 : -errno;
}

int cshm_region_list(void (*visit)(const char *name, void *context), void *context)
{
    int count = 0;
    DIR *directory = opendir("/dev/shm");
    if (directory == NULL) {
        return -errno;
    }
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        struct cshm_header header;
        int fd =
            openat(dirfd(directory), entry->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0) {
            continue;
        }
        int status = read_header(fd, &header);
        close(fd);
        if (status != -EBADMSG && status != -EACCES) {
            visit(entry->d_name, context);
            count++;
        }
    }
    closedir(directory);
    return count;
}
