/* Old versions of functions of glibc, so that a wheel runs on older systems than that which built it.
 *
 * glibc 2.34 moved the functions of threads from libpthread to libc under new versions. The linker
 * takes the newest version of a function, so the wheel would need glibc 2.34 (manylinux_2_34). With the
 * old versions below the newest symbol that is needed is of glibc 2.17 (manylinux2014). They are the
 * same functions, but for pthread_kill: the old one returns ESRCH for a thread that has ended, and
 * bsbpool signals only threads that run a job. Before 2.34 they are in libpthread, hence LDFLAGS in wheels.py.
 *
 * Only for x86-64: elsewhere the first versions of these functions have other numbers. */
#if defined(__x86_64__) && defined(__gnu_linux__)
#define OLD(name) __asm__(".symver " #name "," #name "@GLIBC_2.2.5")
OLD(pthread_attr_setstack);
OLD(pthread_create);
OLD(pthread_detach);
OLD(pthread_join);
OLD(pthread_kill);
OLD(pthread_mutex_trylock);
OLD(pthread_sigmask);
OLD(sem_destroy);
OLD(sem_init);
OLD(sem_post);
OLD(sem_timedwait);
#undef OLD
#endif
