/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What SharedState needs from C to run code in worker processes. Not part of CShm: a C program
 * that links CShm alone never has its main touched.
 */
#ifndef CWORKERENTRY_H
#define CWORKERENTRY_H

#include "call.h"
#include "image.h"
#include "launch.h"
#include "zygote.h"

#endif /* CWORKERENTRY_H */
