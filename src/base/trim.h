#ifndef BASE_TRIM_H
#define BASE_TRIM_H

/*
 * Gives back what an idle process needs not hold: the pages of its own text, which come back from the
 * file's cache when they are run, and the stack below the caller.
 */
void trim_memory(void);

#endif
