/* links: simulate */
#include "base/file.h"
#include "base/mem.h"
#include "tests/lib/test.h"
#include "tools/src/sim_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GIB (UINT64_C(1) << 30)

/* ---- a file of a test's own ---- */

static char path[64];

static const char *file_with(const char *text)
{
    snprintf(path, sizeof(path), "/tmp/test_sim_read.XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(sy_write_all(fd, text, strlen(text)), 0);
    close(fd);
    return path;
}

struct reading {
    struct sim_trace trace;
    struct sim_complaints complaints;
    struct sy_error_text error;
    char *told; /* the sentences */
    size_t told_len;
};

static int read_text(struct reading *ret, const char *text, struct sim_read_options options,
                     bool strict)
{
    *ret = (struct reading){0};
    ret->complaints.file = open_memstream(&ret->told, &ret->told_len);
    ret->complaints.strict = strict;
    int r = sim_read(&ret->trace, file_with(text), &options, &ret->complaints, &ret->error);
    fclose(ret->complaints.file);
    unlink(path);
    return r;
}

static void reading_deinit(struct reading *reading)
{
    sim_trace_deinit(&reading->trace);
    free(reading->told);
}

static const struct sch_resources *request(const struct reading *reading, size_t task)
{
    return &reading->trace.kinds[reading->trace.tasks[task].kind]->request;
}

static const struct sch_queue_key *key(const struct reading *reading, size_t task)
{
    return &reading->trace.queues[reading->trace.tasks[task].queue]->key;
}

/* ---- our own format ---- */

#define HEADER                                                                                     \
    "arrival_s,duration_s,cpu,memory,gpus,gpu_model,project,domain,queue,priority,count,"          \
    "gang,topology,gpu_slice,labels,tolerations\n"

START_TEST(test_rows_become_tasks_in_order_of_arrival)
{
    struct reading reading;
    int r = read_text(&reading,
                      HEADER "20,60,1.5,2GiB,0,,etl,production,nightly,-3,2\n"
                             "\n"
                             "10.5,30,8,64GiB,1,H100,\"vision\",production,,7,\n",
                      (struct sim_read_options){.format = SIM_FORMAT_CSV}, true);
    ck_assert_int_eq(r, 0);
    const struct sim_trace *trace = &reading.trace;
    ck_assert_uint_eq(trace->count, 3);
    ck_assert_int_eq(trace->tasks[0].arrival_ns, 0); /* the first one begins the clock */
    ck_assert_int_eq(trace->tasks[0].duration_ns, 30000000000);
    ck_assert_uint_eq(request(&reading, 0)->cpu_milli, 8000);
    ck_assert_uint_eq(request(&reading, 0)->gpus, 1);
    ck_assert_str_eq(request(&reading, 0)->gpu_model, "H100");
    ck_assert_str_eq(key(&reading, 0)->project, "vision");
    ck_assert_str_eq(key(&reading, 0)->name, "");
    ck_assert_int_eq(trace->tasks[0].priority, 7);
    ck_assert_int_eq(trace->tasks[2].arrival_ns, 9500000000);
    ck_assert_uint_eq(request(&reading, 2)->cpu_milli, 1500);
    ck_assert_uint_eq(request(&reading, 2)->memory_bytes, 2 * GIB);
    ck_assert_str_eq(key(&reading, 2)->name, "nightly");
    ck_assert_int_eq(trace->tasks[2].priority, -3);
    reading_deinit(&reading);
}
END_TEST

START_TEST(test_columns_may_be_few_and_in_any_order)
{
    struct reading reading;
    int r = read_text(&reading, "cpu,note,duration_s,arrival_s\n2,\"a, \"\"b\"\"\",5,1\n",
                      (struct sim_read_options){.format = SIM_FORMAT_CSV}, true);
    ck_assert_int_eq(r, 0);
    ck_assert_uint_eq(reading.trace.count, 1);
    ck_assert_uint_eq(request(&reading, 0)->cpu_milli, 2000);
    ck_assert_str_eq(key(&reading, 0)->project, "default");
    ck_assert_str_eq(key(&reading, 0)->domain, "development");
    reading_deinit(&reading);
}
END_TEST

START_TEST(test_json_lines_say_the_same)
{
    struct reading reading;
    int r = read_text(&reading,
                      "{\"arrival_s\": 0, \"duration_s\": 1.25, \"cpu\": 4, \"memory\": \"1GiB\", "
                      "\"gpus\": 2, \"project\": \"p\", \"domain\": \"d\", \"count\": 3}\n"
                      "{\"arrival_s\": 1, \"cpu\": 1}\n"
                      "[1]\n"
                      "{\n",
                      (struct sim_read_options){.format = SIM_FORMAT_JSONL}, false);
    ck_assert_int_eq(r, 0);
    ck_assert_uint_eq(reading.trace.count, 3);
    ck_assert_int_eq(reading.trace.tasks[2].duration_ns, 1250000000);
    ck_assert_uint_eq(request(&reading, 0)->gpus, 2);
    ck_assert_uint_eq(reading.complaints.count, 3);
    ck_assert_ptr_nonnull(strstr(reading.told, ":2: no 'duration_s'"));
    ck_assert_ptr_nonnull(strstr(reading.told, ":3: not an object in JSON"));
    reading_deinit(&reading);
}
END_TEST

static const struct {
    const char *row, *sentence;
} bad_rows[] = {
    {"x,1,1,,,,,,,,", "arrival_s 'x': expected a number"},
    {"-1,1,1,,,,,,,,", "arrival_s '-1'"},
    {"0,nan,1,,,,,,,,", "duration_s 'nan'"},
    {"0,1,1e99,,,,,,,,", "cpu '1e99'"},
    {"0,1,1,-5,,,,,,,", "memory '-5': expected a size"},
    {"0,1,1,2PiB,,,,,,,", "memory '2PiB'"},
    {"0,1,1,,1.5,,,,,,", "expected whole GPUs, or a part of one"},
    {"0,1,1,,0.0001,,,,,,,,,,", "at least 0.001"},
    {"0,1,1,,,,,,,0.5,,,,,", "whole numbers"},
    {"0,1,1,,,,,,,,,,,1g.5gb,", "gpu_slice '1g.5gb' without gpus"},
    {"0,1,1,,0.5,,,,,,,,,1g.5gb,", "whole numbers of slices"},
    {"0,1,1,,,,,,,,,,,,a b=c", "label"},
    {"0,1,1,,,H100,,,,,", "GPU model 'H100' without GPUs"},
    {"0,1,1,,1,a-model-with-a-name-that-is-too-long,,,,,", "gpu device"},
    {"0,1,1,,,,a b,,,,", "project 'a b'"},
    {"0,1,1,,,,,,,1001,", "priority '1001'"},
    {"0,1,1,,,,,,,,0", "count '0'"},
    {"0,1,1,,,,,,,,,x,", "gang 'x': expected a number"},
    {"0,1,1,,,,,,,,,-2,", "gang '-2'"},
    {"0,1,1,,,,,,,,,1,", "1 members, expected 2 to 1024"},
    {"0,1,1,,,,,,,,,1025,", "gang '1025'"},
    {"0,1,1,,,,,,,,,2.5,", "gang '2.5': a whole number"},
    {"0,1,1,,,,,,,,,2,rack", "topology 'rack': expected prefer:LABEL"},
    {"0,1,1,,,,,,,,,2,require:", "topology 'require:'"},
    {"0,1,1,,,,,,,,,,prefer:rack", "of a gang"},
    {"0,1,1,,,,,,,,4000000,1024,", "tasks in all"},
    {"0,1", "2 fields, 'cpu' is number 3"},
};

START_TEST(test_a_bad_row_is_told_and_counted)
{
    char text[512];
    struct reading reading;
    const struct sim_read_options options = {.format = SIM_FORMAT_CSV};
    for (size_t i = 0; i < SY_COUNT_OF(bad_rows); i++) {
        snprintf(text, sizeof(text), HEADER "%s\n0,1,1,,,,,,,,\n", bad_rows[i].row);
        ck_assert_int_eq(read_text(&reading, text, options, false), 0);
        ck_assert_uint_eq(reading.trace.count, 1);
        ck_assert_uint_eq(reading.complaints.count, 1);
        ck_assert_msg(strstr(reading.told, ":2: ") && strstr(reading.told, bad_rows[i].sentence),
                      "'%s' gave: %s", bad_rows[i].row, reading.told);
        reading_deinit(&reading);
        ck_assert_int_eq(read_text(&reading, text, options, true), -EINVAL); /* strict */
        ck_assert_ptr_nonnull(strstr(reading.error.text, bad_rows[i].sentence));
        reading_deinit(&reading);
    }
}
END_TEST

START_TEST(test_gangs_are_tasks_that_follow_one_another)
{
    struct reading reading;
    const struct sim_read_options options = {.format = SIM_FORMAT_CSV};
    int r = read_text(&reading,
                      HEADER "5,1,1,,,,,,,,1,,\n"
                             "5,1,2,,,,,,,,2,3,require:rack\n"
                             "5,1,2,,,,,,,,1,2,\n",
                      options, true);
    ck_assert_int_eq(r, 0);
    const struct sim_trace *trace = &reading.trace;
    ck_assert_uint_eq(trace->count, 1 + 2 * 3 + 2);
    ck_assert_ptr_null(sim_trace_gang(trace, 0));
    for (uint32_t i = 1; i < 7; i++) {
        const struct sch_gang_shape *gang = sim_trace_gang(trace, i);
        ck_assert(gang->size == 3 && gang->topology == SCH_TOPOLOGY_REQUIRE);
        ck_assert_str_eq(gang->key, "rack");
        ck_assert_uint_eq(trace->tasks[i].rank, (i - 1) % 3);
    }
    ck_assert_uint_eq(sim_trace_gang(trace, 7)->size, 2);
    ck_assert_uint_eq(trace->gang_count, 2);
    reading_deinit(&reading);
    r = read_text(&reading,
                  "{\"arrival_s\": 0, \"duration_s\": 1, \"cpu\": 4, \"gang\": 2, "
                  "\"topology\": \"prefer:rack\"}\n",
                  (struct sim_read_options){.format = SIM_FORMAT_JSONL}, true);
    ck_assert_int_eq(r, 0);
    ck_assert_uint_eq(sim_trace_gang(&reading.trace, 1)->topology, SCH_TOPOLOGY_PREFER);
    reading_deinit(&reading);
}
END_TEST

START_TEST(test_a_file_without_tasks_is_an_error)
{
    struct reading reading;
    const struct sim_read_options options = {.format = SIM_FORMAT_CSV};
    ck_assert_int_eq(read_text(&reading, HEADER, options, false), -EINVAL);
    ck_assert_ptr_nonnull(strstr(reading.error.text, "no task"));
    reading_deinit(&reading);
    ck_assert_int_eq(read_text(&reading, "", options, false), -EINVAL);
    ck_assert_ptr_nonnull(strstr(reading.error.text, "no column 'arrival_s'"));
    reading_deinit(&reading);
}
END_TEST

START_TEST(test_what_is_written_is_read_again)
{
    struct reading first, second;
    char *written = NULL;
    size_t len = 0;
    const struct sim_read_options options = {.format = SIM_FORMAT_CSV};
    ck_assert_int_eq(read_text(&first,
                               HEADER
                               "0,1.5,0.25,3MiB,0,,a,b,q,1,3\n7,2,4,1GiB,2,T4,c,d,,0,1\n"
                               "8,2,4,,0,,c,d,,0,2,3,require:rack\n8,2,4,,0,,c,d,,0,1,2,\n"
                               "9,2,4,,0.25,T4,c,d,,0,1,,,,disk=ssd\n"
                               "9,2,4,,2,A100,c,d,,0,1,,,1g.5gb,\"a=b,disk=ssd\",\"gpu,team=x\"\n",
                               options, true),
                     0);
    FILE *file = open_memstream(&written, &len);
    sim_trace_write(&first.trace, file);
    fclose(file);
    ck_assert_int_eq(read_text(&second, written, options, true), 0);
    ck_assert_uint_eq(second.trace.count, first.trace.count);
    size_t last = first.trace.count - 1;
    ck_assert_uint_eq(request(&second, last - 1)->gpu_milli, 250);
    ck_assert_str_eq(request(&second, last)->gpu_partition, "1g.5gb");
    ck_assert_uint_eq(request(&second, last)->gpus, 2);
    ck_assert_str_eq(request(&second, last)->labels, "a=b,disk=ssd");
    ck_assert_str_eq(request(&second, last)->tolerations, "gpu,team=x");
    ck_assert_str_eq(request(&second, last - 1)->tolerations, "");
    for (size_t i = 0; i < first.trace.count; i++) {
        ck_assert_mem_eq(&first.trace.tasks[i], &second.trace.tasks[i], sizeof(struct sim_task));
        ck_assert(sch_resources_equal(request(&first, i), request(&second, i)));
        ck_assert_mem_eq(key(&first, i), key(&second, i), sizeof(struct sch_queue_key));
    }
    free(written);
    reading_deinit(&first);
    reading_deinit(&second);
}
END_TEST

/* ---- public traces: rows made up by us, in their columns ---- */

START_TEST(test_alibaba_2020_by_task)
{
    struct reading reading;
    int r = read_text(&reading,
                      "job1,worker,2.0,Terminated,100.0,160.0,600.0,29.296875,50.0,MISC\n"
                      "job1,ps,1.0,Terminated,100.0,160.0,400.0,8.0,0.0,\n"
                      "job2,tensorflow,1.0,Terminated,90.0,95.5,100.0,1.0,200.0,V100\n"
                      "job3,worker,1.0,Running,100.0,,600.0,1.0,100.0,T4\n",
                      (struct sim_read_options){.format = SIM_FORMAT_ALIBABA_2020}, false);
    ck_assert_int_eq(r, 0);
    ck_assert_uint_eq(reading.trace.count, 4);
    ck_assert_uint_eq(reading.complaints.count, 1); /* job3 did not end */
    ck_assert_ptr_nonnull(strstr(reading.told, ":4: it has no end_time"));
    ck_assert_str_eq(request(&reading, 0)->gpu_model, "V100");
    ck_assert_uint_eq(request(&reading, 0)->gpus, 2);
    ck_assert_int_eq(reading.trace.tasks[0].duration_ns, 5500000000);
    ck_assert_int_eq(reading.trace.tasks[1].arrival_ns, 10000000000);
    ck_assert_uint_eq(request(&reading, 1)->cpu_milli, 6000);
    ck_assert_uint_eq(request(&reading, 1)->gpus, 0);
    ck_assert_uint_eq(request(&reading, 1)->gpu_milli, 500);
    ck_assert_str_eq(request(&reading, 1)->gpu_model, "");
    ck_assert_uint_eq(request(&reading, 3)->gpus, 0);
    reading_deinit(&reading);
}
END_TEST

START_TEST(test_alibaba_2020_by_instance)
{
    struct reading reading;
    char instances[64];
    snprintf(instances, sizeof(instances), "%s",
             file_with("job_name,task_name,inst_name,worker_name,inst_id,status,start_time,"
                       "end_time,machine\n"
                       "job1,worker,i1,w1,x,Terminated,100.0,110.0,m1\n"
                       "job1,worker,i2,w2,x,Terminated,105.0,125.0,m2\n"
                       "job9,worker,i3,w3,x,Terminated,105.0,125.0,m2\n"));
    int r = read_text(
        &reading, "job1,worker,2.0,Terminated,100.0,160.0,600.0,29.296875,100.0,T4\n",
        (struct sim_read_options){.format = SIM_FORMAT_ALIBABA_2020, .instances = instances},
        false);
    unlink(instances);
    ck_assert_int_eq(r, 0);
    ck_assert_uint_eq(reading.trace.count, 2);
    ck_assert_int_eq(reading.trace.tasks[0].duration_ns, 10000000000);
    ck_assert_int_eq(reading.trace.tasks[1].duration_ns, 20000000000);
    ck_assert_str_eq(request(&reading, 1)->gpu_model, "T4");
    ck_assert_ptr_nonnull(strstr(reading.told, "no task 'worker' of job 'job9'"));
    reading_deinit(&reading);
}
END_TEST

START_TEST(test_alibaba_2023)
{
    struct reading reading;
    int r = read_text(&reading,
                      "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,"
                      "creation_time,deletion_time,scheduled_time\n"
                      "pod-1,88000,327680,8,1000,,Burstable,Succeeded,1000,1600,1100\n"
                      "pod-2,4000,15258,1,220,V100M16|V100M32,BE,Running,1010,1020,1010\n"
                      "pod-3,4000,1024,1,1000,T4,LS,Succeeded,1020,1030,1025\n"
                      "pod-4,4000,1024,0,0,,LS,Pending,1020,1030,\n",
                      (struct sim_read_options){.format = SIM_FORMAT_ALIBABA_2023}, false);
    ck_assert_int_eq(r, 0);
    ck_assert_uint_eq(reading.trace.count, 3);
    ck_assert_int_eq(reading.trace.tasks[0].arrival_ns, 0);
    ck_assert_int_eq(reading.trace.tasks[0].duration_ns, 500000000000);
    ck_assert_uint_eq(request(&reading, 0)->gpus, 8);
    ck_assert_uint_eq(request(&reading, 0)->memory_bytes, 320 * GIB);
    ck_assert_str_eq(key(&reading, 0)->project, "Burstable");
    ck_assert_uint_eq(request(&reading, 1)->gpu_milli, 220);
    ck_assert_uint_eq(request(&reading, 2)->gpus, 1);
    ck_assert_uint_eq(request(&reading, 2)->gpu_milli, 0);
    ck_assert_str_eq(request(&reading, 1)->gpu_model, ""); /* either of two */
    ck_assert_str_eq(request(&reading, 2)->gpu_model, "T4");
    ck_assert_ptr_nonnull(strstr(reading.told, ":5: it has no scheduled_time"));
    reading_deinit(&reading);
}
END_TEST

START_TEST(test_google_2019)
{
    struct reading reading;
    int r = read_text(
        &reading,
        "time,type,collection_id,priority,instance_index,resource_request.cpus,"
        "resource_request.memory,collection_type\n"
        "600000000,SUBMIT,1,200,0,0.5,0.25,0\n"
        "601000000,0,1,200,1,0.5,0.25,0\n"
        "602000000,3,1,200,0,0.5,0.25,0\n"
        "603000000,4,1,200,0,0.5,0.25,0\n" /* evicted: what it did is lost */
        "604000000,SCHEDULE,1,200,0,0.5,0.25,0\n"
        "610000000,FINISH,1,200,0,0.5,0.25,0\n"
        "611000000,SUBMIT,2,100,0,0.1,0.1,1\n" /* an alloc set */
        "612000000,DANCE,1,200,0,0.5,0.25,0\n"
        "620000000,FINISH,7,200,0,0.5,0.25,0\n", /* submitted before the file */
        (struct sim_read_options){.format = SIM_FORMAT_GOOGLE_2019,
                                  .machine = {.cpu_milli = 64000, .memory_bytes = 256 * GIB}},
        false);
    ck_assert_int_eq(r, 0);
    ck_assert_uint_eq(reading.trace.count, 1);
    ck_assert_int_eq(reading.trace.tasks[0].duration_ns, 6000000000);
    ck_assert_uint_eq(request(&reading, 0)->cpu_milli, 32000);
    ck_assert_uint_eq(request(&reading, 0)->memory_bytes, 64 * GIB);
    ck_assert_int_eq(reading.trace.tasks[0].priority, 200);
    ck_assert_uint_eq(reading.complaints.count, 1);
    ck_assert_ptr_nonnull(strstr(reading.told, ":9: type 'DANCE'"));
    reading_deinit(&reading);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_rows_become_tasks_in_order_of_arrival,
        test_columns_may_be_few_and_in_any_order,
        test_json_lines_say_the_same,
        test_a_bad_row_is_told_and_counted,
        test_gangs_are_tasks_that_follow_one_another,
        test_a_file_without_tasks_is_an_error,
        test_what_is_written_is_read_again,
        test_alibaba_2020_by_task,
        test_alibaba_2020_by_instance,
        test_alibaba_2023,
        test_google_2019,
        NULL,
    };
    return sy_test_run("sim_read", tests);
}
