create or replace view directory as select * from directory_of_devices
