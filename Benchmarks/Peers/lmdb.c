// SPDX-License-Identifier: Apache-2.0
//
// Peer: LMDB (liblmdb-dev) on /dev/shm without sync; each get and each set is a transaction.
#include <errno.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <bench_map.h>

struct database {
    char path[96];
    uint32_t size;
    MDB_env *env;
    MDB_dbi table;
    MDB_txn *reader; /* reset and renewed: cheaper than begun and aborted */
};

static int database_open(struct database *db)
{
    MDB_txn *txn;
    int status = mdb_env_create(&db->env);
    if (status == 0) {
        (void)mdb_env_set_mapsize(db->env, 256u << 20);
        status = mdb_env_open(db->env, db->path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_WRITEMAP, 0600);
    }
    if (status == 0 && (status = mdb_txn_begin(db->env, NULL, 0, &txn)) == 0) {
        status = mdb_dbi_open(txn, NULL, 0, &db->table);
        status = status == 0 ? mdb_txn_commit(txn) : status;
    }
    if (status == 0 && (status = mdb_txn_begin(db->env, NULL, MDB_RDONLY, &db->reader)) == 0) {
        mdb_txn_reset(db->reader);
    }
    return status == 0 ? 0 : -EIO;
}

static void database_close(struct database *db)
{
    if (db->reader != NULL) {
        mdb_txn_abort(db->reader);
    }
    mdb_env_close(db->env);
    *db = (struct database){.size = db->size};
}

static bool get(void *handle, const struct bench_key *key, struct bench_value *value, uint32_t size)
{
    struct database *db = handle;
    MDB_val name = {sizeof *key, (void *)(uintptr_t)key};
    MDB_val found;
    if (mdb_txn_renew(db->reader) != 0) {
        return false;
    }
    bool there = mdb_get(db->reader, db->table, &name, &found) == 0 && found.mv_size == size;
    if (there) {
        memcpy(value, found.mv_data, size);
    }
    mdb_txn_reset(db->reader);
    return there;
}

static bool set(void *handle, const struct bench_key *key, const struct bench_value *value,
                uint32_t size)
{
    struct database *db = handle;
    MDB_val name = {sizeof *key, (void *)(uintptr_t)key};
    MDB_val content = {size, (void *)(uintptr_t)value};
    MDB_txn *txn;
    if (mdb_txn_begin(db->env, NULL, 0, &txn) != 0) {
        return false;
    }
    if (mdb_put(txn, db->table, &name, &content, 0) != 0) {
        mdb_txn_abort(txn);
        return false;
    }
    return mdb_txn_commit(txn) == 0;
}

static bool fill(struct database *db)
{
    MDB_txn *txn;
    bool done = mdb_txn_begin(db->env, NULL, 0, &txn) == 0;
    for (uint64_t number = 0; done && number < BENCH_KEYS; number++) {
        struct bench_key key = bench_key_of(number);
        struct bench_value value;
        MDB_val name = {sizeof key, &key};
        MDB_val content = {db->size, &value};
        bench_fill(&value, number, db->size);
        done = mdb_put(txn, db->table, &name, &content, 0) == 0;
    }
    return done && mdb_txn_commit(txn) == 0;
}

static void unlink_files(const struct database *db)
{
    char lock[128];
    snprintf(lock, sizeof lock, "%s-lock", db->path);
    unlink(lock);
    unlink(db->path);
}

static void destroy(void *state)
{
    struct database *db = state;
    unlink_files(db);
    if (db->env != NULL) {
        database_close(db);
    }
    free(db);
}

static int create(const struct bench_shape *shape, void **state)
{
    static unsigned number;
    struct database *db = calloc(1, sizeof *db);
    if (db == NULL) {
        return -ENOMEM;
    }
    db->size = shape->size;
    snprintf(db->path, sizeof db->path, "/dev/shm/sharedstate.bench.%d.lmdb%u", (int)getpid(),
             number++);
    struct database filled = *db; /* an environment does not go through a fork */
    int status = database_open(&filled);
    if (status == 0 && !fill(&filled)) {
        status = -EIO;
    }
    database_close(&filled);
    if (status != 0) {
        destroy(db);
        return status;
    }
    *state = db;
    return 0;
}

static int open_side(void *state, bool producer, void **handle)
{
    (void)producer;
    *handle = state;
    return database_open(state);
}

static void *handle_of(void *state)
{
    struct database *db = state;
    return database_open(db) == 0 ? db : NULL;
}

static uint32_t size_of(void *state)
{
    return ((struct database *)state)->size;
}

BENCH_MAP(lmdb, "lmdb", create, destroy, open_side, get, set, handle_of, size_of);

const struct bench_channel *const bench_peers[] = {&lmdb_get, &lmdb_set, &lmdb_mix95, &lmdb_mix50,
                                                   NULL};
